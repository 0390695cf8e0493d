"""Options of each kind of manifest."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from konnectivity.net.addresses import shown
from konnectivity.tool.manifests import (
    agent_objects,
    agent_service_object,
    gateway,
    hardening,
    object_names,
    server_pod,
)
from konnectivity.tool.manifests.object_names import ManifestError
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal

Group = argparse._ActionsContainer


def checked(check: Callable[[str], str], optional: bool = False) -> Callable[[str], str]:
    """Return `check` as the type of an option; its error text reaches the person. `optional` accepts an empty text."""

    def read(text: str) -> str:
        try:
            return text if optional and not text else check(text)
        except ManifestError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


_IMAGE, _NAME, _NAMESPACE = (
    checked(each) for each in (object_names.check_image, object_names.check_name, object_names.check_namespace)
)
_DIRECTORY = checked(object_names.check_directory)
_ANY_IMAGE, _ANY_NAME, _ANY_NAMESPACE = (
    checked(each, optional=True)
    for each in (object_names.check_image, object_names.check_name, object_names.check_namespace)
)


def port_number(text: str) -> int:
    """Return a port number."""
    if not parse_decimal(text, MAX_PORT):
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not a port between 1 and 65535")
    return int(text)


def tenant_file_option(
    to: Group, text: str = "File with the TenantControlPlane whose settings apply; - is standard input."
) -> Group:
    group = to.add_argument_group("Kamaji")
    group.add_argument("--from-tenantcontrolplane", dest="tenant_file", metavar="FILE", default="", help=text)
    return group


def _tenant_options(to: Group) -> None:
    group = tenant_file_option(to)
    group.add_argument(
        "--without-addon",
        action="store_true",
        help="Use the addon's defaults where the TenantControlPlane has no spec.addons.konnectivity.",
    )


def _image_options(to: Group, default: str) -> None:
    to.add_argument(
        "--image",
        type=_ANY_IMAGE,
        default="",
        help=f"Image of the container (default: {default}, or the image that the TenantControlPlane names).",
    )
    to.add_argument("--kamaji-images", action="store_true", help="Use the image that Kamaji would run.")


def _lease_options(to: Group) -> None:
    to.add_argument(
        "--leases",
        type=_ANY_NAMESPACE,
        nargs="?",
        const=object_names.LEASE_NAMESPACE,
        default="",
        metavar="NAMESPACE",
        help="Namespace of the leases that servers keep and agents count; without a value "
        f"{object_names.LEASE_NAMESPACE} (default: no leases).",
    )
    to.add_argument(
        "--namespace",
        type=_NAMESPACE,
        default=object_names.NAMESPACE,
        help="Namespace of the agents (default: %(default)s).",
    )


def port_option(to: Group, text: str = "Port of the server for agents") -> None:
    to.add_argument("--port", type=port_number, default=object_names.AGENT_PORT, help=f"{text} (default: %(default)s).")


def agent_options(to: Group) -> None:
    """Declare the options of the agent's workload."""
    to.add_argument("--server", default="", metavar="HOSTS", help="Comma-separated servers, each a host or host:port.")
    port_option(to, "Port of the servers that are given without one")
    mode_options(to)
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
    for name, default in hardening.AGENT_RESOURCES.items():
        shown = ",".join(f"{resource}={quantity}" for resource, quantity in default.items())
        to.add_argument(
            f"--{name}",
            default="",
            metavar="R=Q",
            help=f"Comma-separated resource {name}, RESOURCE=QUANTITY each (default: {shown}).",
        )
    extra_option(to)
    _image_options(to, object_names.AGENT_IMAGE)
    _lease_options(to)
    _tenant_options(to)


def mode_options(to: Group) -> None:
    to.add_argument(
        "--mode",
        choices=agent_objects.MODES,
        default=agent_objects.DAEMON_SET,
        help="Workload of the agents (default: %(default)s).",
    )
    to.add_argument(
        "--replicas", type=int, metavar="N", help="Number of agent replicas when --mode=Deployment (default: 1)."
    )
    to.add_argument(
        "--host-network",
        action="store_true",
        help="Run the agents in the host's network, so that they do not wait for a network plugin.",
    )


def extra_option(to: Group) -> None:
    to.add_argument(
        "--extra-arg",
        action="append",
        default=[],
        metavar="--FLAG=VALUE",
        help="Additional flag of the program, for example --extra-arg=--v=2; may be repeated.",
    )


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
    to.add_argument(
        "--files",
        type=_DIRECTORY,
        default=server_pod.FILES,
        metavar="DIR",
        help="Directory of the host with certificates and kubeconfig (default: %(default)s).",
    )
    to.add_argument(
        "--sockets",
        type=_DIRECTORY,
        default=server_pod.SOCKETS,
        metavar="DIR",
        help="Directory of the host for the unix socket (default: %(default)s).",
    )


def server_options(to: Group) -> None:
    """Declare the options of the server."""
    port_option(to)
    to.add_argument(
        "--mode", default="grpc,http-connect", help="Comma-separated protocols of the frontend (default: %(default)s)."
    )
    to.add_argument(
        "--count", type=int, default=1, metavar="N", help="Number of servers, if they keep no leases (default: 1)."
    )
    extra_option(to)
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
    group.add_argument(
        "--tls-secret",
        type=_NAME,
        default="konnectivity-server",
        metavar="NAME",
        help="Secret with the server's certificate (default: %(default)s).",
    )
    group.add_argument(
        "--kubeconfig-secret",
        type=_NAME,
        default="konnectivity-server-kubeconfig",
        metavar="NAME",
        help="Secret with the server's kubeconfig (default: %(default)s).",
    )
    group.add_argument(
        "--egress-configmap",
        type=_NAME,
        default="konnectivity-egress",
        metavar="NAME",
        help="ConfigMap with the egress configuration (default: %(default)s).",
    )
    _tenant_options(to)


def service_options(to: Group) -> None:
    """Declare the options of the Service."""
    to.add_argument(
        "--type",
        choices=agent_service_object.TYPES,
        default=agent_service_object.CLUSTER_IP,
        help="Type of the Service (default: %(default)s).",
    )
    port_option(to)
    to.add_argument(
        "--node-port",
        type=port_number,
        metavar="PORT",
        help="Port on the nodes, with --type=NodePort (default: chosen by Kubernetes).",
    )
    _tenant_options(to)


def route_options(to: Group) -> None:
    """Declare the options of the TLSRoute."""
    to.add_argument(
        "--hostname",
        type=_ANY_NAME,
        default="",
        help="Host name that agents dial; the server's certificate must name it.",
    )
    to.add_argument(
        "--gateway",
        default="",
        metavar="[NAMESPACE/]NAME",
        help="Gateway with a TLS listener named konnectivity-server.",
    )
    to.add_argument(
        "--namespace",
        type=_NAMESPACE,
        default=object_names.NAMESPACE,
        help="Namespace of route and Service (default: %(default)s).",
    )
    to.add_argument(
        "--service",
        type=_NAME,
        default=object_names.SERVER,
        help="Service that the route leads to (default: %(default)s).",
    )
    port_option(to)
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
    tenant_file_option(to)


def addon_options(to: Group) -> None:
    """Declare the options of the patch of a TenantControlPlane."""
    to.add_argument(
        "--server-image",
        type=_IMAGE,
        default=object_names.SERVER_IMAGE,
        metavar="IMAGE",
        help="Image of the server (default: %(default)s).",
    )
    to.add_argument(
        "--agent-image",
        type=_IMAGE,
        default=object_names.AGENT_IMAGE,
        metavar="IMAGE",
        help="Image of the agent (default: %(default)s).",
    )
    to.add_argument(
        "--port", type=port_number, metavar="PORT", help="Port of the server for agents (default: unchanged)."
    )
    to.add_argument("--mode", choices=agent_objects.MODES, help="Workload of the agents (default: unchanged).")
    to.add_argument(
        "--replicas", type=int, metavar="N", help="Number of agent replicas of a Deployment (default: unchanged)."
    )
    to.add_argument("--host-network", action="store_true", help="Run agents on the host's network.")
    tenant_file_option(
        to,
        "File with the TenantControlPlane to patch, - for standard input; the patch sets a port if its addon is off.",
    )


def server_config_options(to: Group) -> None:
    """Declare the options of server_config_options."""
    to.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="Kubeconfig of the server, written by `konnectivity kubeconfig`.",
    )
    tenant_file_option(to)
