"""Declarations that options of several kinds of manifests share: how a value is checked and its default shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from konnectivity.net.addresses import shown
from konnectivity.tool.manifests import agent_objects, agent_service_object, object_names
from konnectivity.tool.manifests.object_names import ManifestError, Object
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal

Group = argparse._ActionsContainer
Check = Callable[[str], str]


def value(to: Group, flag: str, check: Check, default: str, text: str, metavar: str | None = None) -> None:
    """Declare an option whose value is checked; its help is the text and the default.

    An option without a default may be empty, and its text says what that means.
    """
    to.add_argument(
        flag,
        type=_reader(check, optional=not default),
        default=default,
        metavar=metavar,
        help=f"{text} (default: %(default)s)." if default else text,
    )


def argument(to: Group, name: str, check: Check, text: str) -> None:
    """Declare a positional argument whose value is checked."""
    to.add_argument(name, type=_reader(check), metavar=name.upper(), help=text)


def image(to: Group, flag: str, default: str, program: str) -> None:
    value(to, flag, object_names.check_image, default, f"Image of the {program}", "IMAGE")


def namespace(to: Group, default: str, whose: str) -> None:
    value(to, "--namespace", object_names.check_namespace, default, f"Namespace of {whose}")


def port(to: Group, text: str = "Port of the server for agents") -> None:
    to.add_argument("--port", type=port_number, default=object_names.AGENT_PORT, help=f"{text} (default: %(default)s).")


def leases(to: Group, text: str) -> None:
    """Declare the namespace of leases, which may be given without a value."""
    to.add_argument(
        "--leases",
        type=_reader(object_names.check_namespace, optional=True),
        nargs="?",
        const=object_names.LEASE_NAMESPACE,
        default="",
        metavar="NAMESPACE",
        help=f"Namespace of {text}; without a value {object_names.LEASE_NAMESPACE} (default: no leases).",
    )


def service(to: Group) -> None:
    """Declare the type of a Service."""
    to.add_argument(
        "--type",
        choices=agent_service_object.TYPES,
        default=agent_service_object.CLUSTER_IP,
        help="Type of the Service (default: %(default)s).",
    )
    to.add_argument(
        "--node-port",
        type=port_number,
        metavar="PORT",
        help="Port on the nodes, with --type=NodePort (default: chosen by Kubernetes).",
    )


def workload(to: Group) -> None:
    """Declare the kind of the agents' workload."""
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


def resources(to: Group, defaults: Mapping[str, Object]) -> None:
    """Declare requests and limits of a pod."""
    for name, default in defaults.items():
        quantities = ",".join(f"{resource}={quantity}" for resource, quantity in default.items())
        to.add_argument(
            f"--{name}",
            default="",
            metavar="R=Q",
            help=f"Comma-separated resource {name} of a pod, RESOURCE=QUANTITY each (default: {quantities}).",
        )


def extra_flags(to: Group) -> None:
    to.add_argument(
        "--extra-arg",
        action="append",
        default=[],
        metavar="--FLAG=VALUE",
        help="Additional flag of the program, for example --extra-arg=--v=2; may be repeated.",
    )


def tenant_file(
    to: Group, text: str = "File with the TenantControlPlane whose settings apply; - is standard input."
) -> Group:
    group = to.add_argument_group("Kamaji")
    group.add_argument("--from-tenantcontrolplane", dest="tenant_file", metavar="FILE", default="", help=text)
    return group


def port_number(text: str) -> int:
    """Return a port number."""
    if not parse_decimal(text, MAX_PORT):
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not a port between 1 and 65535")
    return int(text)


def _reader(check: Check, optional: bool = False) -> Check:
    """Return `check` as the type of an option; its error text reaches the person. `optional` accepts an empty text."""

    def read(text: str) -> str:
        try:
            return text if optional and not text else check(text)
        except ManifestError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
