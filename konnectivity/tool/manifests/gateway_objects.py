"""Objects of a gateway: one server with --tenants, as a Deployment which the control planes of many clusters share.

The files of the tenants are in a fixed number of Secrets, which one projected volume merges into one directory. A
Secret that does not exist is left out. So a tenant comes, changes and goes by a change of a Secret, and no pod is
restarted.

The pods are peer servers of each other: a pod that has no agent of a tenant yet dials through one that has.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from konnectivity.net.addresses import shown
from konnectivity.tool.manifests import agent_service_object, extra_arguments, hardening, object_names, server_pod
from konnectivity.tool.manifests.object_names import ManifestError, Object

NAME = "konnectivity-gateway"
NAMESPACE = "konnectivity"
TENANTS = "/etc/konnectivity/tenants"
TLS = "/etc/konnectivity/tls"
TENANTS_VOLUME, TLS_VOLUME = "konnectivity-tenants", "konnectivity-gateway-tls"
PEERS = "konnectivity-gateway-peers"  # headless Service, Secret and volume
PEER_TLS, PEER_PORT = "/etc/konnectivity/peers", 8135
ADMIN_VOLUME, ADMIN = "konnectivity-gateway-admin", "/etc/konnectivity/admin"
REPLICAS = 2
SHARDS, MAX_SHARDS = 16, 256
MAX_SECRET = 1024 * 1024  # bytes that the data of a Secret may have
CPU_PERCENT = 70
TUNNELS_METRIC = "konnectivity_network_proxy_server_ready_backend_connections"
RESOURCES: Object = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
_MIN_READY_S = 20  # agents find a new server meanwhile, so the next one of a rollout is replaced after that
_SETTLE_S = 300


@dataclass(frozen=True, kw_only=True)
class GatewayManifest:
    """Settings of the gateway's objects."""

    image: str = object_names.SERVER_IMAGE
    namespace: str = NAMESPACE
    port: int = object_names.AGENT_PORT  # port for agents and kube-apiservers alike
    replicas: int = REPLICAS
    max_replicas: int | None = None  # largest number of replicas that an autoscaler may choose; None: no autoscaler
    cpu_percent: int = CPU_PERCENT
    tunnels: int | None = None  # agents of a pod above which the autoscaler adds one; None: by processor time alone
    shards: int = SHARDS
    tls_secret: str = NAME
    peers: bool = True  # pods dial through each other
    peer_secret: str = PEERS
    admin_token_secret: str = ""  # Secret with the tokens of the admin port; empty: the port asks for none
    service_type: str = agent_service_object.CLUSTER_IP
    node_port: int | None = None
    networks: Sequence[str] = ()  # CIDRs from which clients may come; empty: everywhere
    resources: Object = field(default_factory=lambda: RESOURCES)
    flags: extra_arguments.Flags = field(default_factory=dict)

    def __post_init__(self) -> None:
        server_pod.check_port(self.port)
        check_shards(self.shards)
        if self.replicas < 1:
            raise ManifestError(f"the replicas of a gateway must be 1 or more, not {self.replicas}")
        if self.max_replicas is not None and self.max_replicas <= self.replicas:
            raise ManifestError(
                f"the largest number of replicas must be above {self.replicas}, not {self.max_replicas}"
            )
        if not 1 <= self.cpu_percent <= 100:
            raise ManifestError(f"the processor time of a pod is 1 to 100 percent, not {self.cpu_percent}")
        if self.tunnels is not None and (self.max_replicas is None or self.tunnels < 1):
            raise ManifestError(
                "a number of tunnels is 1 or more, and for an autoscaler: give the largest number of replicas"
            )
        for network in self.networks:
            check_network(network)

    def all_flags(self) -> extra_arguments.Flags:
        certificate, key = f"{TLS}/tls.crt", f"{TLS}/tls.key"
        flags = {
            "--admin-port": str(object_names.ADMIN_PORT),
            "--agent-port": str(self.port),
            "--cluster-cert": certificate,
            "--cluster-key": key,
            "--health-port": str(object_names.HEALTH_PORT),
            "--mode": "grpc,http-connect",
            "--server-cert": certificate,
            "--server-count": str(self._announced()),
            "--server-key": key,
            "--server-port": str(self.port),
            "--tenants": TENANTS,
        }
        if self.peers:
            flags |= {
                "--peer-ca-cert": f"{PEER_TLS}/ca.crt",
                "--peer-cert": f"{PEER_TLS}/tls.crt",
                "--peer-key": f"{PEER_TLS}/tls.key",
                "--peer-port": str(PEER_PORT),
                "--peers": f"{PEERS}.{self.namespace}.svc:{PEER_PORT}",
            }
        if self.admin_token_secret:
            flags["--admin-token-file"] = f"{ADMIN}/tokens"
        return flags | self.flags

    def _announced(self) -> int:
        """Return the number of servers that agents are told; those that the autoscaler adds tell their peer servers."""
        return self.replicas if self.peers else self.max_replicas or self.replicas


def check_shards(count: int) -> int:
    """Return a number of Secrets with the files of tenants.

    Raises:
        ManifestError: the number is out of bounds.

    """
    if not 1 <= count <= MAX_SHARDS:
        raise ManifestError(f"the tenants' files are in 1 to {MAX_SHARDS} Secrets, not {count}")
    return count


def check_network(text: str) -> str:
    """Return a network in CIDR notation.

    Raises:
        ManifestError: the text is no network.

    """
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ManifestError(f"{shown(text)!r} is no network: write ADDRESS/BITS, as in 192.0.2.0/24") from None
    return text


def shard_name(shard: int) -> str:
    """Return the name of a Secret with files of tenants."""
    return f"konnectivity-tenants-{shard}"


def objects(gateway: GatewayManifest) -> list[Object]:
    """Return all objects of the gateway except its Secrets."""
    made = [
        _object("v1", "ServiceAccount", gateway) | {"automountServiceAccountToken": False},
        deployment(gateway),
        service(gateway),
        *([peer_service(gateway)] if gateway.peers else []),
        _object("policy/v1", "PodDisruptionBudget", gateway) | {"spec": {"maxUnavailable": 1, "selector": _selector()}},
        network_policy(gateway),
    ]
    return made if gateway.max_replicas is None else [*made, autoscaler(gateway)]


def deployment(gateway: GatewayManifest) -> Object:
    spec: Object = {"selector": _selector(), "minReadySeconds": _MIN_READY_S}
    if gateway.max_replicas is None:  # an autoscaler's number would be undone whenever the manifest is applied
        spec["replicas"] = gateway.replicas
    spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec["template"] = {"metadata": {"labels": object_names.labels(NAME)}, "spec": pod(gateway)}
    return _object("apps/v1", "Deployment", gateway) | {"spec": spec}


def pod(gateway: GatewayManifest) -> Object:
    sources = [{"secret": {"name": shard_name(shard), "optional": True}} for shard in range(gateway.shards)]
    secrets = [{"name": name, "secret": {"secretName": secret}} for name, secret, _ in _secrets(gateway)]
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": hardening.apart(NAME),
        "securityContext": hardening.pod_security(),
        "terminationGracePeriodSeconds": hardening.SERVER_GRACE_S,
        "enableServiceLinks": False,
        "containers": [_container(gateway)],
        "volumes": [{"name": TENANTS_VOLUME, "projected": {"sources": sources}}, *secrets],
    }


def _secrets(gateway: GatewayManifest) -> list[tuple[str, str, str]]:
    """Return the Secrets that are volumes of their own: the name of the volume, that of the Secret, and the path."""
    made = [(TLS_VOLUME, gateway.tls_secret, TLS)]
    if gateway.peers:
        made.append((PEERS, gateway.peer_secret, PEER_TLS))
    if gateway.admin_token_secret:
        made.append((ADMIN_VOLUME, gateway.admin_token_secret, ADMIN))
    return made


def _container(gateway: GatewayManifest) -> Object:
    flags = gateway.all_flags()
    health = extra_arguments.port_of(flags, "--health-port")
    mounted = {TENANTS_VOLUME: TENANTS} | {name: path for name, _, path in _secrets(gateway)}
    ports = server_pod.container_ports(flags)
    if gateway.peers:
        ports.append({"name": "peerport", "containerPort": _peer_port(gateway), "protocol": "TCP"})
    return {
        "name": object_names.SERVER,
        "image": gateway.image,
        "command": ["/proxy-server"],
        "args": extra_arguments.rendered(flags),
        "ports": ports,
        "livenessProbe": hardening.probe("/healthz", health, delay_s=10),
        # Whether the server serves at all. Agents come by the Service, so a pod without agents must be in it.
        "readinessProbe": hardening.readiness("/readyz", health),
        "resources": gateway.resources,
        "securityContext": hardening.container_security(),
        "volumeMounts": [{"name": name, "mountPath": path, "readOnly": True} for name, path in mounted.items()],
    }


def service(gateway: GatewayManifest) -> Object:
    spec = agent_service_object.service_spec(NAME, gateway.service_type, _port(gateway), gateway.node_port)
    return _object("v1", "Service", gateway) | {"spec": spec}


def peer_service(gateway: GatewayManifest) -> Object:
    """Return the Service whose name has the address of each pod, also of those that are not ready."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": object_names.labels(NAME),
        "ports": [{"name": "peers", "port": _peer_port(gateway), "protocol": "TCP"}],
    }
    made = _object("v1", "Service", gateway)
    return made | {"metadata": {**made["metadata"], "name": PEERS}, "spec": spec}


def network_policy(gateway: GatewayManifest) -> Object:
    """Return the policy of the ports: of agents and kube-apiservers, of probes and metrics, and of the pods' own."""
    health = extra_arguments.port_of(gateway.all_flags(), "--health-port")
    clients: Object = {"ports": [{"port": _port(gateway), "protocol": "TCP"}]}
    if gateway.networks:
        clients["from"] = [{"ipBlock": {"cidr": each}} for each in gateway.networks]
    ingress = [clients, {"ports": [{"port": health, "protocol": "TCP"}]}]
    if gateway.peers:
        own: Object = {"ports": [{"port": _peer_port(gateway), "protocol": "TCP"}]}
        ingress.append({**own, "from": [{"podSelector": _selector()}]})
    spec = {"podSelector": _selector(), "policyTypes": ["Ingress"], "ingress": ingress}
    return _object("networking.k8s.io/v1", "NetworkPolicy", gateway) | {"spec": spec}


def autoscaler(gateway: GatewayManifest) -> Object:
    """Return the autoscaler: by processor time, as metrics-server has it; by tunnels if an adapter serves them."""
    target = {"type": "Utilization", "averageUtilization": gateway.cpu_percent}
    metrics: list[Object] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if gateway.tunnels is not None:
        average = {"type": "AverageValue", "averageValue": str(gateway.tunnels)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": TUNNELS_METRIC}, "target": average}})
    # Each pod that goes costs every tenant a reconnection.
    calm = {
        "stabilizationWindowSeconds": _SETTLE_S,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": _SETTLE_S}],
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "minReplicas": gateway.replicas,
        "maxReplicas": gateway.max_replicas,
        "metrics": metrics,
        "behavior": {"scaleDown": calm},
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", gateway) | {"spec": spec}


def networks(texts: Iterable[str]) -> list[str]:
    """Return the networks in comma-separated lists."""
    return [each for text in texts for each in text.split(",") if each]


def _port(gateway: GatewayManifest) -> int:
    return extra_arguments.port_of(gateway.all_flags(), "--agent-port")


def _peer_port(gateway: GatewayManifest) -> int:
    return extra_arguments.port_of(gateway.all_flags(), "--peer-port")


def _selector() -> Object:
    return {"matchLabels": object_names.labels(NAME)}


def _object(version: str, kind: str, gateway: GatewayManifest) -> Object:
    head = object_names.metadata(NAME, gateway.namespace, object_names.labels(NAME))
    return {"apiVersion": version, "kind": kind, "metadata": head}
