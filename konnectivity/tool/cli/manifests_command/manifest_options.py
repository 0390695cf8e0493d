"""Options of each kind of manifest."""

from __future__ import annotations

from konnectivity.tool.cli.manifests_command import checked_options
from konnectivity.tool.cli.manifests_command.checked_options import Group
from konnectivity.tool.manifests import agent_objects, gateway, hardening, object_names, server_pod


def _tenant_options(to: Group) -> None:
    group = checked_options.tenant_file(to)
    group.add_argument(
        "--without-addon",
        action="store_true",
        help="Use the addon's defaults where the TenantControlPlane has no spec.addons.konnectivity.",
    )


def _image_options(to: Group, default: str) -> None:
    text = f"Image of the container (default: {default}, or the image that the TenantControlPlane names)."
    checked_options.value(to, "--image", object_names.check_image, "", text)
    to.add_argument("--kamaji-images", action="store_true", help="Use the image that Kamaji would run.")


def _lease_options(to: Group) -> None:
    checked_options.leases(to, "the leases that servers keep and agents count")
    checked_options.namespace(to, object_names.NAMESPACE, "the agents")


def agent_options(to: Group) -> None:
    """Declare the options of the agent's workload."""
    to.add_argument("--server", default="", metavar="HOSTS", help="Comma-separated servers, each a host or host:port.")
    checked_options.port(to, "Port of the servers that are given without one")
    checked_options.workload(to)
    to.add_argument(
        "--ca", default="", metavar="FILE", help="CA of the servers' certificates (default: the cluster's CA)."
    )
    to.add_argument(
        "--toleration",
        action="append",
        default=[],
        metavar="TAINT",
        help="Taint that the pods tolerate: key or key=value, each with an optional :effect; * for every taint; may be "
        "repeated (default: CriticalAddonsOnly).",
    )
    checked_options.resources(to, hardening.AGENT_RESOURCES)
    checked_options.extra_flags(to)
    _image_options(to, object_names.AGENT_IMAGE)
    _lease_options(to)
    _tenant_options(to)


def rbac_options(to: Group) -> None:
    """Declare the options of the rights of server and agent."""
    to.add_argument(
        "--agent-identity-token",
        action="store_true",
        help="Include the rights that a server with --agent-identity=token needs.",
    )
    to.add_argument(
        "--probe-node-events",
        action="store_true",
        help="Include the rights that a server with --probe-node-events needs.",
    )
    _lease_options(to)
    _tenant_options(to)


def path_options(to: Group) -> None:
    """Declare the options of the directories of a host."""
    for flag, default, text in (
        ("--files", server_pod.FILES, "Directory of the host with certificates and kubeconfig"),
        ("--sockets", server_pod.SOCKETS, "Directory of the host for the unix socket"),
    ):
        checked_options.value(to, flag, object_names.check_directory, default, text, "DIR")


def server_options(to: Group) -> None:
    """Declare the options of the server."""
    checked_options.port(to)
    to.add_argument(
        "--mode", default="grpc,http-connect", help="Comma-separated protocols of the frontend (default: %(default)s)."
    )
    to.add_argument(
        "--count", type=int, default=1, metavar="N", help="Number of servers, if they keep no leases (default: 1)."
    )
    checked_options.extra_flags(to)
    _image_options(to, object_names.SERVER_IMAGE)
    _lease_options(to)
    path_options(to.add_argument_group("static pod"))
    group = to.add_argument_group("beside a kube-apiserver")
    group.add_argument(
        "--into",
        default="",
        metavar="FILE",
        help="File with a Pod or Deployment, which is printed with the server added.",
    )
    for flag, default, text in (
        ("--tls-secret", "konnectivity-server", "Secret with the server's certificate"),
        ("--kubeconfig-secret", "konnectivity-server-kubeconfig", "Secret with the server's kubeconfig"),
        ("--egress-configmap", "konnectivity-egress", "ConfigMap with the egress configuration"),
    ):
        checked_options.value(group, flag, object_names.check_name, default, text, "NAME")
    _tenant_options(to)


def service_options(to: Group) -> None:
    """Declare the options of the Service."""
    checked_options.service(to)
    checked_options.port(to)
    _tenant_options(to)


def route_options(to: Group) -> None:
    """Declare the options of the TLSRoute."""
    checked_options.value(
        to,
        "--hostname",
        object_names.check_name,
        "",
        "Host name that agents dial; the server's certificate must name it.",
    )
    to.add_argument(
        "--gateway",
        default="",
        metavar="[NAMESPACE/]NAME",
        help="Gateway with a TLS listener named konnectivity-server.",
    )
    checked_options.namespace(to, object_names.NAMESPACE, "route and Service")
    checked_options.value(
        to, "--service", object_names.check_name, object_names.SERVER, "Service that the route leads to"
    )
    checked_options.port(to)
    to.add_argument(
        "--api",
        choices=gateway.VERSIONS,
        default=gateway.VERSIONS[0],
        help="API version of the TLSRoute (default: %(default)s).",
    )
    _tenant_options(to)


def removal_options(to: Group) -> None:
    """Declare the options of the removal."""
    _lease_options(to)
    to.add_argument(
        "--out-of",
        default="",
        metavar="FILE",
        help="File with a Pod or Deployment, which is printed without the server.",
    )
    to.add_argument(
        "--admin", action="store_true", help="Print the objects of Kamaji's admin cluster instead of the tenant's."
    )
    to.add_argument(
        "--deployment-patch",
        action="store_true",
        help="Print a strategic merge patch for the Deployment of the tenant's control plane. It removes a volume "
        "whose Secret Kamaji has deleted, so that new pods can start.",
    )
    checked_options.tenant_file(to)


def addon_options(to: Group) -> None:
    """Declare the options of the patch of a TenantControlPlane."""
    checked_options.image(to, "--server-image", object_names.SERVER_IMAGE, "server")
    checked_options.image(to, "--agent-image", object_names.AGENT_IMAGE, "agent")
    to.add_argument(
        "--port",
        type=checked_options.port_number,
        metavar="PORT",
        help="Port of the server for agents (default: unchanged).",
    )
    to.add_argument("--mode", choices=agent_objects.MODES, help="Workload of the agents (default: unchanged).")
    to.add_argument(
        "--replicas", type=int, metavar="N", help="Number of agent replicas of a Deployment (default: unchanged)."
    )
    to.add_argument("--host-network", action="store_true", help="Run agents on the host's network.")
    checked_options.tenant_file(
        to,
        "File with the TenantControlPlane to patch, - for standard input; the patch sets a port if its addon is off.",
    )


def server_config_options(to: Group) -> None:
    """Declare the options of the configuration of a server beside a kube-apiserver."""
    to.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="Kubeconfig of the server, written by `konnectivity kubeconfig`.",
    )
    checked_options.tenant_file(to)
