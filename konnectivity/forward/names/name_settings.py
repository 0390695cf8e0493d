"""Settings of names of one forward proxy: the rules, and the name servers of the cluster. Pure.

Owns the checks of both, and what follows from them. Does not know flags, nor how a name is resolved.
"""

from __future__ import annotations

from collections.abc import Sequence

from konnectivity.forward.names import name_rules
from konnectivity.forward.names.name_rules import NameRules
from konnectivity.net import addresses

DNS_PORT = 53


class NameSettings:
    """Settings of names.

    Args:
        rules: texts of rules, as `NameRules` has them.
        cluster_dns: name servers of the cluster: addresses, or Services as service.namespace, with a port or not.

    Raises:
        ValueError: a rule or an address is malformed.

    """

    def __init__(self, rules: Sequence[str], cluster_dns: Sequence[str]) -> None:
        self.rules = NameRules(rules)
        self._servers = addresses.parse_hosts(tuple(cluster_dns), DNS_PORT)

    @property
    def needs_kubernetes(self) -> bool:
        """Return whether a name is resolved by the Kubernetes API."""
        named = any(not addresses.is_address(host) for host, _ in self._servers)
        return name_rules.KUBERNETES in self.rules.ways or named

    @property
    def name_servers(self) -> list[str]:
        """Return "host:port" of each name server of the cluster."""
        return [addresses.joined(host, port) for host, port in self._servers]

    @property
    def lacks_cluster_dns(self) -> bool:
        """Return whether a rule names the cluster's DNS, of which no server is known."""
        return name_rules.CLUSTER_DNS in self.rules.ways and not self._servers


def rules_problem(texts: tuple[str, ...]) -> str | None:
    """Return why texts are no rules; None if they are."""
    try:
        NameRules(texts)
    except ValueError as error:
        return str(error)
    return None


def cluster_dns_problem(texts: tuple[str, ...]) -> str | None:
    """Return why texts name no name servers; None if they do."""
    try:
        found = addresses.parse_hosts(texts, DNS_PORT)
    except ValueError as error:
        return str(error)
    names = [host for host, _ in found if not addresses.is_address(host) and "." not in host]
    return f"{names[0]!r} is not an IP address, and not service.namespace" if names else None
