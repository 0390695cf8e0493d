"""Server on a host, as a static pod of its kubelet: beside the kube-apiserver of kubeadm, kind and the like."""

from __future__ import annotations

from dataclasses import dataclass, field

from konnectivity.tool.manifests import extra_arguments, hardening, object_names
from konnectivity.tool.manifests.object_names import ManifestError, Object

FILES = "/etc/kubernetes/konnectivity"
SOCKETS = "/etc/kubernetes/konnectivity-server"
SOCKET = "konnectivity-server.socket"
CERTIFICATE, KEY, KUBECONFIG = "server.crt", "server.key", "konnectivity-server.conf"
PORTS = range(1024, 49152)


@dataclass(frozen=True, kw_only=True)
class ServerManifest:
    """Settings of the server's pod."""

    image: str = object_names.SERVER_IMAGE
    port: int = object_names.AGENT_PORT
    mode: str = "grpc,http-connect"  # both protocols, so that every egress configuration works
    count: int = 1
    files: str = FILES  # certificate, key, kubeconfig
    sockets: str = SOCKETS
    namespace: str = object_names.NAMESPACE  # namespace of the agents
    lease_namespace: str = ""
    flags: extra_arguments.Flags = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_port(self.port)
        if self.count < 1:
            raise ManifestError(f"the count of servers must be 1 or more, not {self.count}")

    def all_flags(self) -> extra_arguments.Flags:
        flags = base_flags(self.port, self.count, self.namespace) | {
            "--mode": self.mode,
            "--uds-name": f"{self.sockets}/{SOCKET}",
            "--cluster-cert": f"{self.files}/{CERTIFICATE}",
            "--cluster-key": f"{self.files}/{KEY}",
            "--kubeconfig": f"{self.files}/{KUBECONFIG}",
            # The pod uses the host's network, so every client that reaches the host could reach the health port.
            "--health-bind-address": "127.0.0.1",
        }
        if self.lease_namespace:
            flags |= {"--enable-lease-controller": "true", "--lease-namespace": self.lease_namespace}
        return flags | self.flags


def check_port(port: int) -> None:
    """Check a port that the server is to listen on.

    Raises:
        ManifestError: the server would refuse the port.

    """
    if port not in PORTS:
        raise ManifestError(f"port {port}: the server listens on ports {PORTS.start} to {PORTS.stop - 1} only")


def base_flags(port: int, count: int, namespace: str) -> extra_arguments.Flags:
    """Return the flags of every server that reviews tokens and listens on a unix socket."""
    return {
        "--admin-port": str(object_names.ADMIN_PORT),
        "--agent-namespace": namespace,
        "--agent-port": str(port),
        "--agent-service-account": object_names.AGENT,
        "--authentication-audience": object_names.AUDIENCE,
        "--health-port": str(object_names.HEALTH_PORT),
        "--server-count": str(count),
        "--server-port": "0",
    }


def container_ports(flags: extra_arguments.Flags) -> list[Object]:
    wanted = {"agentport": "--agent-port", "adminport": "--admin-port", "healthport": "--health-port"}
    return [
        {"name": name, "containerPort": extra_arguments.port_of(flags, flag), "protocol": "TCP"}
        for name, flag in wanted.items()
    ]


def static_pod(server: ServerManifest) -> Object:
    """Return the pod. Its directories must exist and belong to user 65532 (docs/start/quickstart.md)."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": object_names.metadata(object_names.SERVER, labels=object_names.labels(object_names.SERVER)),
        "spec": {
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "securityContext": hardening.pod_security(),
            "terminationGracePeriodSeconds": hardening.SERVER_GRACE_S,
            "enableServiceLinks": False,
            "containers": [_container(server)],
            "volumes": [
                {"name": "konnectivity-files", "hostPath": {"path": server.files, "type": "Directory"}},
                {"name": "konnectivity-uds", "hostPath": {"path": server.sockets, "type": "Directory"}},
            ],
        },
    }


def _container(server: ServerManifest) -> Object:
    flags = server.all_flags()
    health = extra_arguments.port_of(flags, "--health-port")
    return {
        "name": object_names.SERVER,
        "image": server.image,
        "command": ["/proxy-server"],
        "args": extra_arguments.rendered(flags),
        "ports": container_ports(flags),
        "livenessProbe": hardening.probe("/healthz", health, delay_s=10, host="127.0.0.1"),
        # Not /readyz, which wants an agent: agents may have to come through a Service that waits for this.
        "readinessProbe": hardening.readiness("/healthz", health, host="127.0.0.1"),
        "resources": hardening.SERVER_RESOURCES,
        "securityContext": hardening.container_security(),
        "volumeMounts": [
            {"name": "konnectivity-files", "mountPath": server.files, "readOnly": True},
            {"name": "konnectivity-uds", "mountPath": server.sockets},
        ],
    }
