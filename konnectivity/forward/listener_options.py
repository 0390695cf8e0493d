"""Declarations of the options of a forward proxy's listeners, for `konnectivity forward` and for `proxy-server`.

Owns the text and the check of each option once. The flags of `proxy-server` begin with `--forward-`.
"""

from __future__ import annotations

from typing import Any

from konnectivity.forward.names.name_settings import NameSettings, cluster_dns_problem, rules_problem
from konnectivity.net.addresses import is_loopback
from konnectivity.runtime.options import existing_file, option, port, positive
from konnectivity.untrusted.numbers import MAX_PORT


class ListenerDeclarations:
    """Declarations for one program.

    Args:
        prefix: of the flags, behind the two dashes.

    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def bind_address(self, group: str) -> Any:
        """Return the declaration of the address."""
        return option(
            "127.0.0.1",
            group=group,
            metavar="address",
            help="IP address that the forward proxy listens on. An address other than loopback needs "
            f"--{self._prefix}credentials-file.",
        )

    def port(self, default: int, without: str) -> Any:
        """Return the declaration of the TCP port; `without` says what 0 means."""
        text = f"TCP port of the forward proxy, for SOCKS5 and HTTP (0 = {without})."
        return option(default, check=port(0, MAX_PORT), help=text)

    def uds_name(self) -> Any:
        """Return the declaration of the unix socket."""
        return option("", metavar="path", help="Path of a unix socket of the forward proxy (empty = no unix socket).")

    def credentials_file(self) -> Any:
        """Return the declaration of the file of passwords."""
        return option(
            "",
            check=existing_file,
            metavar="file",
            help="File with a line user:password for each client of the forward proxy, read again when it changes "
            "(empty = clients show no password).",
        )

    def max_connections(self) -> Any:
        """Return the declaration of the number of clients."""
        return option(
            10_000,
            check=positive,
            help="Maximum number of concurrent connections of clients to the forward proxy; above it, new ones are "
            "closed.",
        )

    def resolve(self, ways: str, group: str | None = None) -> Any:
        """Return the declaration of the rules on names; `ways` describes the ways beside agent and cluster-dns."""
        return option(
            (),
            group=group,
            check=rules_problem,
            metavar="rules",
            help="Comma-separated rules SUFFIX=WAY on where the forward proxy resolves names, the longest suffix "
            f"first; may be repeated. WAY is agent, cluster-dns (--{self._prefix}cluster-dns), {ways}, or several "
            "with + that are tried in turn; the suffix * stands for all names (empty = agents resolve all names).",
        )

    def cluster_dns(self) -> Any:
        """Return the declaration of the cluster's name servers."""
        return option(
            (),
            check=cluster_dns_problem,
            metavar="addresses",
            help="Comma-separated IP addresses of the cluster's name servers, or Services as service.namespace that "
            "the Kubernetes API resolves, each with an optional port, asked by TCP through the tunnel; may be repeated "
            "(empty = no rule may name cluster-dns).",
        )

    def dns_bind_address(self) -> Any:
        """Return the declaration of the address of the DNS listener."""
        return option(
            "127.0.0.1",
            metavar="address",
            help="IP address that the DNS listener of the forward proxy listens on; only loopback is allowed.",
        )

    def dns_port(self) -> Any:
        """Return the declaration of the port of the DNS listener."""
        return option(
            0,
            check=port(0, MAX_PORT),
            help="TCP port, and UDP port, of a DNS listener for programs that resolve names themselves (0 = no "
            "listener).",
        )

    def dns_problem(self, dns_address: str, dns_port: int) -> str | None:
        """Return why the DNS listener cannot be opened to its address; None if it can."""
        if not dns_port or is_loopback(dns_address):
            return None
        return f"--{self._prefix}dns-bind-address must be a loopback address: anyone could use an open DNS listener"

    def name_problem(self, rules: tuple[str, ...], cluster_dns: tuple[str, ...]) -> str | None:
        """Return the conflict of rules and name servers, both well-formed; None if there is none."""
        if rules_problem(rules) or cluster_dns_problem(cluster_dns):
            return None  # reported for the option itself
        if NameSettings(rules, cluster_dns).lacks_cluster_dns:
            return f"--{self._prefix}resolve names cluster-dns, which needs --{self._prefix}cluster-dns"
        return None
