"""Arguments of `konnectivity pki`: their declarations, and the names that they give a certificate."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from konnectivity.tool.pki.key_types import KEY_TYPES
from konnectivity.tool.pki.roles import LEAVES, USUAL

LONGEST_DAYS = 36_500
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def days(text: str) -> timedelta:
    """Return a duration from a number of days, which may be a fraction.

    Raises:
        ArgumentTypeError: the text is not a number of days.

    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, above 0 and up to {LONGEST_DAYS}")
    return timedelta(days=number)


def add_names(parser: argparse.ArgumentParser) -> None:
    """Declare the names and addresses of each certificate."""
    group = parser.add_argument_group("names and addresses (each may be given several times)")
    for role, what in (
        ("server", "by which agents reach the server"),
        ("frontend", f"by which kube-apiserver reaches the TCP frontend (default: {', '.join(LOOPBACK)})"),
        ("peer", "by which peer servers reach the server"),
        ("agent", "for which the agent may speak, with --agent-identity=certificate-san"),
    ):
        group.add_argument(f"--{role}-name", action="append", default=[], metavar="HOST", help=f"Host name {what}.")
        group.add_argument(f"--{role}-ip", action="append", default=[], metavar="ADDRESS", help=f"IP address {what}.")
    group.add_argument(
        "--agent-uri",
        action="append",
        default=[],
        metavar="URI",
        help="URI in the agent's certificate, for example konnectivity:cidr=10.0.0.0/24.",
    )


def add_issuing(parser: argparse.ArgumentParser) -> None:
    """Declare what is issued, by which CA, and where it is written."""
    group = parser.add_argument_group("issuing")
    group.add_argument(
        "--ca-cert", metavar="FILE", help="Existing CA for server and agents; with --check: the CA to verify against."
    )
    group.add_argument("--ca-key", metavar="FILE", help="Private key of --ca-cert.")
    group.add_argument("--frontend-ca-cert", metavar="FILE", help="Existing CA for frontend and client.")
    group.add_argument("--frontend-ca-key", metavar="FILE", help="Private key of --frontend-ca-cert.")
    group.add_argument("--peer-ca-cert", metavar="FILE", help="Existing CA for peer servers.")
    group.add_argument("--peer-ca-key", metavar="FILE", help="Private key of --peer-ca-cert.")
    group.add_argument(
        "--days", type=days, default=timedelta(days=365), help="Validity of the certificates in days (default: 365)."
    )
    group.add_argument(
        "--key-type", choices=KEY_TYPES, default=KEY_TYPES[0], help="Kind of the keys (default: %(default)s)."
    )
    group.add_argument(
        "--only",
        metavar="NAMES",
        type=_leaves,
        help=f"Comma-separated certificates to issue, of {','.join(LEAVES)} (default: {','.join(USUAL)}).",
    )
    group.add_argument(
        "--renew", metavar="NAMES", type=_leaves, help="Comma-separated certificates to replace; their names are kept."
    )
    group.add_argument(
        "--as",
        dest="stem",
        metavar="NAME",
        help="File name and common name of the one certificate of --only or --renew.",
    )
    group.add_argument("--force", action="store_true", help="Replace existing certificates and keys, but never a CA.")
    group.add_argument("--secrets", action="store_true", help="Print Kubernetes Secrets instead of writing files.")
    group.add_argument("--namespace", default="kube-system", help="Namespace of the Secrets (default: %(default)s).")


def add_checking(parser: argparse.ArgumentParser) -> None:
    """Declare the options of --check."""
    group = parser.add_argument_group("checking")
    group.add_argument(
        "--check", action="store_true", help="Check the FILEs, or those of the directory, instead of issuing."
    )
    group.add_argument("--role", choices=(*LEAVES, "ca"), help="Role of the FILEs (default: by name and contents).")
    group.add_argument("--key", metavar="FILE", help="Private key of the one FILE (default: the key beside the file).")
    group.add_argument(
        "--warn-days",
        metavar="DAYS",
        type=days,
        default=timedelta(days=30),
        help="Days of validity below which a certificate is a warning (default: 30).",
    )


def _leaves(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if wrong := [name for name in names if name not in LEAVES]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(LEAVES)}")
    return names


def given_names(arguments: argparse.Namespace, role: str) -> Any:
    """Return the names of the command line for a role."""
    from konnectivity.tool.pki.issuance import Names

    texts = [*getattr(arguments, f"{role}_name", ()), *getattr(arguments, f"{role}_ip", ())]
    return Names.of(texts, getattr(arguments, f"{role}_uri", ()))
