"""Arguments that name a proxy server's frontend, for `dial`, `curl` and `doctor`. Dials nothing."""

from __future__ import annotations

import argparse
import ssl
from typing import Any, NamedTuple

from konnectivity.client import Mode, tls_context
from konnectivity.net import addresses

UNIX = "unix:"


class FrontendArguments(NamedTuple):
    """Arguments for `konnectivity.client.connect`."""

    address: str
    mode: Mode
    tls: ssl.SSLContext | None
    server_name: str | None

    def keywords(self) -> dict[str, Any]:
        return self._asdict()

    def __str__(self) -> str:
        return f"{self.address} ({self.mode})"


def add_to(parser: argparse.ArgumentParser, flag: str = "--server", required: bool = True) -> None:
    """Declare the arguments of a frontend; `flag` is the name of the one that has the address."""
    group = parser.add_argument_group("proxy server")
    group.add_argument(
        flag,
        dest="frontend",
        required=required,
        metavar="ADDRESS",
        help="Frontend of the proxy server: unix:/path, or host:port for TLS.",
    )
    modes = ("http-connect", "grpc")
    group.add_argument(
        "--mode", choices=modes, default="http-connect", help="Protocol of the frontend (default: %(default)s)."
    )
    group.add_argument("--ca-cert", metavar="FILE", default="", help="CA certificates that verify a TLS frontend.")
    group.add_argument("--cert", metavar="FILE", default="", help="Client certificate for a TLS frontend.")
    group.add_argument("--key", metavar="FILE", default="", help="Private key of --cert.")
    group.add_argument("--server-name", metavar="NAME", help="Name in the frontend's certificate (default: the host).")


def of(arguments: argparse.Namespace) -> FrontendArguments:
    """Return the frontend that the parsed arguments name.

    Raises:
        ValueError: the arguments contradict each other.
        TlsError: a file cannot be used.

    """
    address: str = arguments.frontend
    path, _, _ = addresses.split_frontend(address)
    if path:
        return FrontendArguments(UNIX + path, arguments.mode, None, None)
    if not arguments.ca_cert:
        raise ValueError("--ca-cert is needed for a TCP frontend, which speaks TLS")
    if bool(arguments.cert) != bool(arguments.key):
        raise ValueError("--cert and --key go together")
    tls = tls_context(arguments.ca_cert, arguments.cert, arguments.key, arguments.mode)
    return FrontendArguments(address, arguments.mode, tls, arguments.server_name)
