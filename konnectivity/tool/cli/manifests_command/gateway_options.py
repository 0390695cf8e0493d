"""Options of the manifests of a gateway and of its tenants."""

from __future__ import annotations

import argparse

from konnectivity.net import addresses
from konnectivity.tool.cli.manifests_command import manifest_options
from konnectivity.tool.manifests import agent_service_object, gateway_objects, gateway_tenant, object_names

Group = argparse._ActionsContainer
SECRETS, AGENTS, REMOVAL = "secrets", "agents", "removal"
KAMAJI_BOTH, KAMAJI_PATCH, KAMAJI_BACK = "kamaji-both", "kamaji-patch", "kamaji-back"
PARTS = (SECRETS, AGENTS, KAMAJI_BOTH, KAMAJI_PATCH, KAMAJI_BACK, REMOVAL)

_checked = manifest_options.checked


def gateway_options(to: Group) -> None:
    """Declare the options of the gateway's objects."""
    to.add_argument(
        "--image",
        type=_checked(object_names.check_image),
        default=object_names.SERVER_IMAGE,
        help="Image of the server (default: %(default)s).",
    )
    _place_options(to)
    to.add_argument(
        "--tls-secret",
        type=_checked(object_names.check_name),
        default=gateway_objects.NAME,
        metavar="NAME",
        help="Secret with the certificate that the gateway shows to all clients (default: %(default)s).",
    )
    to.add_argument(
        "--type",
        choices=agent_service_object.TYPES,
        default=agent_service_object.CLUSTER_IP,
        help="Type of the Service (default: %(default)s).",
    )
    to.add_argument(
        "--node-port",
        type=manifest_options.port_number,
        metavar="PORT",
        help="Port on the nodes, with --type=NodePort (default: chosen by Kubernetes).",
    )
    to.add_argument(
        "--allow-from",
        action="append",
        default=[],
        metavar="CIDRS",
        help="Comma-separated networks of agents and kube-apiservers, for the NetworkPolicy; may be repeated (default: "
        "everywhere).",
    )
    shown = ",".join(f"{resource}={quantity}" for resource, quantity in gateway_objects.RESOURCES["requests"].items())
    for name, default in (("requests", shown), ("limits", f"memory={gateway_objects.RESOURCES['limits']['memory']}")):
        to.add_argument(
            f"--{name}",
            default="",
            metavar="R=Q",
            help=f"Comma-separated resource {name} of a pod, RESOURCE=QUANTITY each (default: {default}).",
        )
    manifest_options.extra_option(to)
    _replica_options(to)


def _replica_options(to: Group) -> None:
    to.add_argument(
        "--replicas",
        type=int,
        default=gateway_objects.REPLICAS,
        metavar="N",
        help="Number of pods, with --max-replicas the smallest number (default: %(default)s).",
    )
    group = to.add_argument_group("autoscaler")
    group.add_argument("--max-replicas", type=int, metavar="N", help="Largest number of pods (default: no autoscaler).")
    group.add_argument(
        "--cpu-percent",
        type=int,
        default=gateway_objects.CPU_PERCENT,
        metavar="P",
        help="Processor time above which the autoscaler adds a pod, in percent of the request, as metrics-server "
        "measures it (default: %(default)s).",
    )
    group.add_argument(
        "--tunnels",
        type=int,
        metavar="N",
        help=f"Agents of a pod above which the autoscaler adds one. The metric {gateway_objects.TUNNELS_METRIC} must "
        "be served by an adapter for Prometheus (default: processor time alone).",
    )


def tenant_options(to: Group) -> None:
    """Declare the options of one tenant of a gateway."""
    to.add_argument("name", type=_checked(gateway_tenant.check_tenant_name), metavar="NAME", help="Name of the tenant.")
    to.add_argument(
        "--part",
        choices=PARTS,
        default=SECRETS,
        help="Part to print: the Secrets of the gateway and of kube-apiserver, the agents and rights for the tenant's "
        "cluster, a merge patch of a TenantControlPlane (kamaji-both: kube-apiserver uses the gateway while the addon "
        "is on, kamaji-patch: the gateway without the addon, kamaji-back: the addon alone), or the tenant's Secret "
        "without the tenant (default: %(default)s).",
    )
    to.add_argument(
        "--domain",
        type=_checked(object_names.check_name, optional=True),
        default="",
        help="Domain below which the tenant has the server name NAME.DOMAIN.",
    )
    to.add_argument(
        "--server-name",
        type=_checked(object_names.check_name, optional=True),
        default="",
        metavar="HOST",
        help="TLS server name of the tenant (default: that of --domain).",
    )
    to.add_argument(
        "--gateway-ca", default="", metavar="FILE", help="CA of the certificate that the gateway shows to all clients."
    )
    to.add_argument(
        "--agent-certificates",
        action="store_true",
        help="Let agents show certificates of the tenant's own CA in place of tokens: agent.crt, agent.key and ca.crt "
        "of --pki. Give it for the Secrets and for the agents.",
    )
    to.add_argument(
        "--pki",
        default="pki",
        metavar="DIR",
        help="Directory with the tenant's frontend-ca.crt, client.crt and client.key, made by `konnectivity pki --only "
        "client`, or `--only client,agent` for --agent-certificates (default: %(default)s).",
    )
    _place_options(to)
    _secrets_options(to.add_argument_group("--part secrets"))
    _agents_options(to.add_argument_group("--part agents"))
    manifest_options.tenant_file_option(
        to, "File with the TenantControlPlane of the tenant, whose settings apply; - is standard input."
    )


def _secrets_options(to: Group) -> None:
    to.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="Kubeconfig for token reviews and leases in the tenant's cluster, written by `konnectivity kubeconfig`.",
    )
    to.add_argument(
        "--gateway-address",
        type=_address,
        default="",
        metavar="HOST:PORT",
        help="Address of the gateway for kube-apiserver, which then needs the field tlsServerName in its egress "
        "configuration (default: server name and port).",
    )
    to.add_argument(
        "--apiserver-namespace",
        type=_checked(object_names.check_namespace, optional=True),
        default="",
        metavar="NAME",
        help="Namespace of kube-apiserver (default: that of the TenantControlPlane, or of the gateway).",
    )


def _agents_options(to: Group) -> None:
    to.add_argument(
        "--agent-image",
        type=_checked(object_names.check_image),
        default=object_names.AGENT_IMAGE,
        metavar="IMAGE",
        help="Image of the agent (default: %(default)s).",
    )
    manifest_options.mode_options(to)
    to.add_argument(
        "--leases",
        type=_checked(object_names.check_namespace, optional=True),
        nargs="?",
        const=object_names.LEASE_NAMESPACE,
        default="",
        metavar="NAMESPACE",
        help="Namespace of the leases in the tenant's cluster by which agents count the gateway's pods; give it for "
        f"the Secrets as well; without a value {object_names.LEASE_NAMESPACE} (default: no leases).",
    )


def _place_options(to: Group) -> None:
    to.add_argument(
        "--namespace",
        type=_checked(object_names.check_namespace),
        default=gateway_objects.NAMESPACE,
        help="Namespace of the gateway (default: %(default)s).",
    )
    manifest_options.port_option(to, "Port of the gateway for agents and kube-apiservers")
    to.add_argument(
        "--shards",
        type=int,
        default=gateway_objects.SHARDS,
        metavar="N",
        help="Number of Secrets among which tenants are distributed by name; the same for the gateway and for every "
        "tenant (default: %(default)s).",
    )


def _address(text: str) -> str:
    if not text:
        return text
    try:
        host, port = addresses.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not host or not port:
        raise argparse.ArgumentTypeError(f"{addresses.shown(text)!r} has no host or no port; write HOST:PORT")
    return text
