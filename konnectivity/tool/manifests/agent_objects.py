"""Objects of the agent: on every node, or a number of replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from konnectivity.net.addresses import parse_hosts
from konnectivity.tool.manifests import extra_arguments, hardening, object_names
from konnectivity.tool.manifests.object_names import ManifestError, Object

DAEMON_SET, DEPLOYMENT = "DaemonSet", "Deployment"
MODES = (DAEMON_SET, DEPLOYMENT)
CA_CONFIG_MAP = "konnectivity-ca"
CA_DIRECTORY = "/etc/konnectivity/ca"
CA_FILE = "ca.crt"
CLUSTER_CA = "cluster-ca"
CERTIFICATE_VOLUME, CERTIFICATE = "konnectivity-agent-tls", "/etc/konnectivity/tls"
ROOT_CA_CONFIG_MAP = "kube-root-ca.crt"  # ConfigMap that the cluster keeps in every namespace
CRITICAL_ONLY: Object = {"key": "CriticalAddonsOnly", "operator": "Exists"}
EVERYWHERE: Object = {"operator": "Exists"}
_TOKEN_LIFE_S = 3600


@dataclass(frozen=True, kw_only=True)
class AgentManifest:
    """Settings of the agent's objects."""

    servers: Sequence[str]
    port: int = object_names.AGENT_PORT
    image: str = object_names.AGENT_IMAGE
    namespace: str = object_names.NAMESPACE
    mode: str = DAEMON_SET
    replicas: int | None = None
    tolerations: Sequence[Object] = (CRITICAL_ONLY,)
    host_network: bool = False
    resources: Object = field(default_factory=lambda: hardening.AGENT_RESOURCES)
    flags: extra_arguments.Flags = field(default_factory=dict)  # flags added to the default ones, or replacing them
    ca: str = ""  # PEM of the CA that signed the server's certificate; empty: the cluster's CA
    lease_namespace: str = ""  # namespace of the servers' leases; empty: leases are not counted
    volumes_may_be_replaced: bool = False  # True: another controller may replace volumes and mounts, and nothing else
    name: str = object_names.AGENT  # name of the objects; another one for agents beside those of another server
    certificate_secret: str = ""  # Secret with a client certificate, which agents show in place of a token

    def __post_init__(self) -> None:
        if not self.servers:
            raise ManifestError("the agent needs a server: --server HOST")
        try:
            parse_hosts(self.servers, self.port)
        except ValueError as error:
            raise ManifestError(f"--server: {error}") from None
        check_replicas(self.mode, self.replicas)

    @property
    def ca_config_map(self) -> str:
        """Return the name of the ConfigMap with the CA of the servers."""
        return CA_CONFIG_MAP if self.name == object_names.AGENT else f"{self.name}-ca"

    def all_flags(self) -> extra_arguments.Flags:
        flags = {
            "--proxy-server-host": ",".join(self.servers),
            "--proxy-server-port": str(self.port),
            "--ca-cert": f"{CA_DIRECTORY}/{CA_FILE}" if self.ca else f"{object_names.ACCOUNT_FILES}/ca.crt",
            # Not the server's: on a control plane's node both may use the host's network.
            "--health-server-port": "8093",
            "--admin-server-port": "8094",
        }
        if self.certificate_secret:
            flags |= {"--agent-cert": f"{CERTIFICATE}/tls.crt", "--agent-key": f"{CERTIFICATE}/tls.key"}
        else:
            flags["--service-account-token-path"] = f"{object_names.TOKENS}/{object_names.TOKEN}"
        if self.lease_namespace:
            flags |= {"--count-server-leases": "true", "--lease-namespace": self.lease_namespace}
        return flags | self.flags


def check_replicas(mode: str, replicas: int | None) -> None:
    """Check Kamaji's rule for replicas and mode.

    Raises:
        ManifestError: the rule is broken.

    """
    if mode not in MODES:
        raise ManifestError(f"mode {mode!r}: must be {' or '.join(MODES)}")
    if mode == DAEMON_SET and replicas:
        raise ManifestError(f"replicas are for mode {DEPLOYMENT}: a {DAEMON_SET} has one agent on each node")
    if mode == DEPLOYMENT and replicas is not None and replicas < 1:
        raise ManifestError(f"replicas of a {DEPLOYMENT} must be 1 or more, not {replicas}")


def objects(agent: AgentManifest) -> list[Object]:
    """Return all objects of the agent except roles and bindings (`rbac`)."""
    made = [service_account(agent.namespace, agent.name)]
    if agent.ca:
        head = object_names.metadata(agent.ca_config_map, agent.namespace, object_names.labels(agent.name))
        made.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": {CA_FILE: agent.ca}})
    made.append(workload(agent))
    if agent.mode == DEPLOYMENT:
        made.append(disruption_budget(agent.namespace, agent.name))
    return made


def service_account(namespace: str, name: str = object_names.AGENT) -> Object:
    head = object_names.metadata(name, namespace, object_names.labels(name))
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": head}


def disruption_budget(namespace: str, name: str = object_names.AGENT) -> Object:
    """Return a budget of one pod at a time; "at least one" would forbid draining the node of a single agent."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": object_names.metadata(name, namespace, object_names.labels(name)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": object_names.labels(name)}},
    }


def workload(agent: AgentManifest) -> Object:
    labels = object_names.labels(agent.name)
    spec: Object = {"selector": {"matchLabels": dict(labels)}}
    if agent.mode == DEPLOYMENT:
        if agent.replicas is not None:
            spec["replicas"] = agent.replicas
        if agent.host_network:  # a second one on a node would want the same ports
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    else:
        # A new agent before the old one goes, unless both want the same ports.
        surge: Object = {"maxSurge": "10%", "maxUnavailable": 0}
        update = {"maxUnavailable": "10%"} if agent.host_network else surge
        spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": update}
    spec["template"] = {"metadata": {"labels": dict(labels)}, "spec": pod(agent)}
    head = object_names.metadata(agent.name, agent.namespace, labels)
    return {"apiVersion": "apps/v1", "kind": agent.mode, "metadata": head, "spec": spec}


def pod(agent: AgentManifest) -> Object:
    made: Object = {
        "serviceAccountName": agent.name,
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": hardening.pod_security(),
        "terminationGracePeriodSeconds": hardening.AGENT_GRACE_S,
        "enableServiceLinks": False,
        "containers": [container(agent)],
        "volumes": _volumes(agent),
    }
    # Without the field the pod has no token for the API either, as long as its own mount takes the token's place.
    if not _counts_leases(agent) and not agent.volumes_may_be_replaced:
        made["automountServiceAccountToken"] = False
    if agent.tolerations:
        made["tolerations"] = [dict(each) for each in agent.tolerations]
    if agent.host_network:
        made["hostNetwork"] = True
    if agent.mode == DEPLOYMENT:
        made["affinity"] = hardening.apart(agent.name)
    return made


def container(agent: AgentManifest) -> Object:
    flags = agent.all_flags()
    health = extra_arguments.port_of(flags, "--health-server-port")
    made: Object = {
        "name": object_names.AGENT,
        "image": agent.image,
        "command": ["/proxy-agent"],
        "args": extra_arguments.rendered(flags),
        "ports": [{"name": "healthport", "containerPort": health, "protocol": "TCP"}],
        "livenessProbe": hardening.probe("/healthz", health, delay_s=15, timeout_s=15),
        "readinessProbe": hardening.readiness("/readyz", health),
        "resources": _resources(agent),
        "securityContext": hardening.container_security(),
        "volumeMounts": [_credential_mount(agent)],
    }
    if _mounts_cluster_ca(agent):
        made["volumeMounts"].append({"name": CLUSTER_CA, "mountPath": object_names.ACCOUNT_FILES, "readOnly": True})
    if agent.ca:
        made["volumeMounts"].append({"name": CA_CONFIG_MAP, "mountPath": CA_DIRECTORY, "readOnly": True})
    return made


def _credential_mount(agent: AgentManifest) -> Object:
    if agent.certificate_secret:
        return {"name": CERTIFICATE_VOLUME, "mountPath": CERTIFICATE, "readOnly": True}
    return {"name": object_names.TOKEN, "mountPath": object_names.TOKENS, "readOnly": True}


def _credential_volume(agent: AgentManifest) -> Object:
    if agent.certificate_secret:
        return {"name": CERTIFICATE_VOLUME, "secret": {"secretName": agent.certificate_secret}}
    token = {"path": object_names.TOKEN, "audience": object_names.AUDIENCE, "expirationSeconds": _TOKEN_LIFE_S}
    return {"name": object_names.TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}}


def _volumes(agent: AgentManifest) -> list[Object]:
    made = [_credential_volume(agent)]
    if _mounts_cluster_ca(agent):
        root = {"name": ROOT_CA_CONFIG_MAP, "items": [{"key": CA_FILE, "path": CA_FILE}]}
        made.append({"name": CLUSTER_CA, "projected": {"sources": [{"configMap": root}]}})
    if agent.ca:
        made.append({"name": CA_CONFIG_MAP, "configMap": {"name": agent.ca_config_map}})
    return made


def _counts_leases(agent: AgentManifest) -> bool:
    """Return whether the agent speaks to the Kubernetes API, for which it needs a token."""
    return agent.all_flags().get("--count-server-leases", "false") not in ("false", "False", "FALSE", "f", "F", "0")


def _mounts_cluster_ca(agent: AgentManifest) -> bool:
    """Return whether the pod mounts the cluster's CA where the kubelet would put it beside a token for the API."""
    return not _counts_leases(agent) and not agent.ca


def _resources(agent: AgentManifest) -> Object:
    """Return the chosen resources, or the default; an agent that counts leases needs a few MiB more."""
    default = hardening.AGENT_RESOURCES_WITH_LEASES if _counts_leases(agent) else hardening.AGENT_RESOURCES
    return {
        name: default[name] if quantities == hardening.AGENT_RESOURCES.get(name) else quantities
        for name, quantities in agent.resources.items()
    }
