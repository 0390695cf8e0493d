"""Options of the manifests of a gateway and of its tenants."""

from __future__ import annotations

import argparse
import re

from konnectivity.net import addresses
from konnectivity.tool.cli.manifests_command import checked_options
from konnectivity.tool.cli.manifests_command.checked_options import Group
from konnectivity.tool.manifests import gateway_objects, gateway_tenant, object_names

SECRETS, AGENTS, REMOVAL = "secrets", "agents", "removal"
KAMAJI_BOTH, KAMAJI_PATCH, KAMAJI_BACK = "kamaji-both", "kamaji-patch", "kamaji-back"
PARTS = (SECRETS, AGENTS, KAMAJI_BOTH, KAMAJI_PATCH, KAMAJI_BACK, REMOVAL)


def gateway_options(to: Group) -> None:
    """Declare the options of the gateway's objects."""
    checked_options.image(to, "--image", object_names.SERVER_IMAGE, "server")
    _place_options(to)
    checked_options.value(
        to,
        "--tls-secret",
        object_names.check_name,
        gateway_objects.NAME,
        "Secret with the certificate that the gateway shows to all clients",
        "NAME",
    )
    checked_options.value(
        to,
        "--peer-secret",
        object_names.check_name,
        gateway_objects.PEERS,
        "Secret with the certificate that the pods show to each other, and its CA: tls.crt, tls.key, ca.crt",
        "NAME",
    )
    to.add_argument(
        "--no-peers", action="store_true", help="Let each pod dial through its own agents alone, not by other pods."
    )
    checked_options.value(
        to,
        "--admin-token-secret",
        object_names.check_name,
        "",
        "Secret whose key tokens has the tokens of the admin port, one a line (default: the port asks for no token).",
        "NAME",
    )
    checked_options.service(to)
    to.add_argument(
        "--allow-from",
        action="append",
        default=[],
        metavar="CIDRS",
        help="Comma-separated networks of agents and kube-apiservers, for the NetworkPolicy; may be repeated (default: "
        "everywhere).",
    )
    checked_options.resources(to, gateway_objects.RESOURCES)
    checked_options.extra_flags(to)
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
    checked_options.argument(to, "name", gateway_tenant.check_tenant_name, "Name of the tenant.")
    to.add_argument(
        "--part",
        choices=PARTS,
        default=SECRETS,
        help="Part to print: the Secrets of the gateway and of kube-apiserver, the agents and rights for the tenant's "
        "cluster, a merge patch of a TenantControlPlane (kamaji-both: kube-apiserver uses the gateway while the addon "
        "is on, kamaji-patch: the gateway without the addon, kamaji-back: the addon alone), or the tenant's Secret "
        "without the tenant (default: %(default)s).",
    )
    for flag, metavar, text in (
        ("--domain", None, "Domain below which the tenant has the server name NAME.DOMAIN."),
        ("--server-name", "HOST", "TLS server name of the tenant (default: that of --domain)."),
    ):
        checked_options.value(to, flag, object_names.check_name, "", text, metavar)
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
    checked_options.tenant_file(
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
        "--admin-token-sha256",
        action="append",
        type=_digest,
        default=[],
        metavar="HEX",
        help="SHA-256 digest of a token with which the gateway's admin port answers about this tenant alone; may be "
        "repeated (default: no token of its own).",
    )
    checked_options.value(
        to,
        "--apiserver-namespace",
        object_names.check_namespace,
        "",
        "Namespace of kube-apiserver (default: that of the TenantControlPlane, or of the gateway).",
        "NAME",
    )


def _agents_options(to: Group) -> None:
    checked_options.image(to, "--agent-image", object_names.AGENT_IMAGE, "agent")
    checked_options.workload(to)
    text = (
        "the leases in the tenant's cluster by which agents count the gateway's pods; give it for the Secrets as well"
    )
    checked_options.leases(to, text)


def _place_options(to: Group) -> None:
    checked_options.namespace(to, gateway_objects.NAMESPACE, "the gateway")
    checked_options.port(to, "Port of the gateway for agents and kube-apiservers")
    to.add_argument(
        "--shards",
        type=int,
        default=gateway_objects.SHARDS,
        metavar="N",
        help="Number of Secrets among which tenants are distributed by name; the same for the gateway and for every "
        "tenant (default: %(default)s).",
    )


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{addresses.shown(text)!r} is no SHA-256 digest: write 64 digits of 0-9a-f")
    return text


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
