"""Kinds of manifests, their options, and the output format."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from konnectivity.tool.cli import output
from konnectivity.tool.cli.manifests_command import (
    container_arguments,
    gateway_builders,
    gateway_options,
    manifest_builders,
    manifest_options,
)
from konnectivity.tool.cli.manifests_command.input_files import Unusable, none
from konnectivity.tool.manifests.object_names import ManifestError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Group = argparse._ActionsContainer

_EXAMPLE = """\
examples:
  konnectivity manifests all --server 203.0.113.7 | kubectl apply -f -
  konnectivity manifests all --server cp1,cp2,cp3 --mode Deployment --replicas 3 --leases | kubectl apply -f -
  konnectivity manifests server --leases > /etc/kubernetes/manifests/konnectivity-server.yaml
  kubectl get tcp tenant-1 -o yaml | konnectivity manifests all --from-tenantcontrolplane - > tenant-1.yaml
"""


class _Kind(NamedTuple):
    """Kind of manifests: the function that makes them, and the one that declares their options."""

    name: str
    make: Callable[[argparse.Namespace], Any]
    options: Callable[[argparse.ArgumentParser], None]
    text: str
    example: str


_KINDS = (
    _Kind(
        "all",
        manifest_builders.everything,
        manifest_options.agent_options,
        "all objects for the nodes' cluster: agent and rights",
        "--server cp1",
    ),
    _Kind(
        "agent",
        manifest_builders.its_agent,
        manifest_options.agent_options,
        "the agent and its service account",
        "--server 203.0.113.7",
    ),
    _Kind(
        "rbac",
        manifest_builders.rights,
        manifest_options.rbac_options,
        "the rights of server and agent",
        "--leases",
    ),
    _Kind(
        "server",
        manifest_builders.its_server,
        manifest_options.server_options,
        "the server as a static pod or as a sidecar",
        "--leases",
    ),
    _Kind(
        "apiserver",
        manifest_builders.its_apiserver,
        manifest_options.path_options,
        "a JSON patch for kube-apiserver's static pod",
        "-o json",
    ),
    _Kind(
        "service",
        manifest_builders.its_service,
        manifest_options.service_options,
        "the Service that agents dial",
        "--type LoadBalancer",
    ),
    _Kind(
        "tlsroute",
        manifest_builders.route,
        manifest_options.route_options,
        "a Gateway API TLSRoute for agents",
        "--hostname a.b --gateway gw",
    ),
    _Kind(
        "removal",
        manifest_builders.remains,
        manifest_options.removal_options,
        "objects to delete, for `kubectl delete -f -`",
        "",
    ),
    _Kind(
        "kamaji-patch",
        manifest_builders.addon,
        manifest_options.addon_options,
        "a merge patch for a TenantControlPlane that uses our images",
        "",
    ),
    _Kind(
        "server-config",
        manifest_builders.server_config,
        manifest_options.server_config_options,
        "the ConfigMap and the Secret that the server beside a kube-apiserver needs, without Kamaji's addon",
        "--from-tenantcontrolplane tenant-1.yaml --kubeconfig konnectivity-server.conf",
    ),
    _Kind(
        "gateway",
        gateway_builders.its_gateway,
        gateway_options.gateway_options,
        "a server of many clusters: Deployment, Service, budget, policy, autoscaler",
        "--type LoadBalancer --max-replicas 6",
    ),
    _Kind(
        "tenant",
        gateway_builders.its_tenant,
        gateway_options.tenant_options,
        "one cluster of a gateway: its Secrets, its agents, or the patch that moves its kube-apiserver",
        "tenant-1 --part agents --domain gateway.example.com --gateway-ca ca.crt",
    ),
)


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "manifests",
        help="print Kubernetes objects for server and agent",
        description="Print Kubernetes objects for server and agent, for `kubectl apply -f -`.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(title="what", required=True, metavar="WHAT")
    for kind in _KINDS:
        _add_kind(kinds, kind)


def _add_kind(kinds: Commands, kind: _Kind) -> None:
    parser = kinds.add_parser(
        kind.name,
        help=kind.text,
        description=f"Print {kind.text}.",
        epilog=f"example: konnectivity manifests {kind.name} {kind.example}",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=(output.YAML, output.JSON),
        default=output.YAML,
        help="Output format (default: %(default)s).",
    )
    parser.set_defaults(run=run, make=kind.make, tenant_file="", parser=parser)
    kind.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the objects; return 1 if the tenant control plane cannot have them, 2 if options or files are unusable."""
    try:
        if not arguments.tenant_file and hasattr(arguments, "without_addon"):
            none(arguments, "without --from-tenantcontrolplane", "without_addon")
        made = arguments.make(arguments)
        if not getattr(arguments, "kamaji_images", False):
            container_arguments.check(made)
    except (Unusable, ManifestError) as error:
        of_the_file = arguments.tenant_file and isinstance(error, ManifestError)
        output.complain("manifests", f"{f'{arguments.tenant_file}: ' if of_the_file else ''}{error}")
        return 1 if of_the_file else 2
    if arguments.output == output.JSON and isinstance(made, list) and "kind" in made[0]:
        made = {"apiVersion": "v1", "kind": "List", "items": made}  # kubectl does not accept a bare array
    if arguments.output == output.YAML and isinstance(made, dict) and "kind" in made:
        made = [made]  # a document of its own, whatever is printed before it
    output.show(made, arguments.output)
    return 0
