"""Resolution of the destinations that clients ask for, by rules on their names, and the dials of what was found.

Owns the resolvers. A name whose rule is `agent` is passed on unchanged. Does not know the clients, nor how an address
is dialled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from konnectivity.errors import DialError, DialFailure
from konnectivity.forward.names import name_rules
from konnectivity.forward.names.name_rules import NameRules
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of

if TYPE_CHECKING:
    from konnectivity.forward.names.cluster_dns import ClusterDns
    from konnectivity.forward.names.service_addresses import ServiceAddresses

LOOKUP_S = 10.0  # seconds for the resolver of this machine
_MAX_TRIED = 4  # addresses of one name

T = TypeVar("T")


class NameResolution:
    """Way from a destination to the addresses that are dialled.

    Args:
        rules: where a name is resolved.
        cluster_dns: DNS of the cluster; None: no rule names it.
        services: Services of the Kubernetes API; None: no rule names them.

    """

    def __init__(
        self, rules: NameRules, cluster_dns: ClusterDns | None = None, services: ServiceAddresses | None = None
    ) -> None:
        self.rules = rules
        self.cluster_dns = cluster_dns
        self.services = services

    def ways_of(self, host: str) -> tuple[str, ...]:
        """Return the ways in which a host is resolved, in turn; an address is left to the agent."""
        return (name_rules.AGENT,) if addresses.is_address(host) else self.rules.ways_of(host)

    async def dial(
        self,
        destination: str,
        dial: Callable[[str], Awaitable[T]],
        dial_directly: Callable[[str], Awaitable[T]] | None = None,
    ) -> T:
        """Dial "host:port" by its addresses, and return what the dial that succeeded returned.

        Args:
            destination: "host:port".
            dial: dials "host:port" through the tunnel.
            dial_directly: dials "host:port" from this machine; None: no rule has the way `direct`.

        Raises:
            DialError: the name is unknown, or none of its addresses can be dialled.

        """
        host, port = addresses.split(destination)
        found, last = await self.resolve(host, self.ways_of(host))
        if found:
            return await _dial_first(found[:_MAX_TRIED], port, dial)
        return await (dial_directly if last == name_rules.DIRECT and dial_directly is not None else dial)(destination)

    async def resolve(self, host: str, ways: tuple[str, ...]) -> tuple[list[str], str]:
        """Return the addresses of a name by the first way that has any, and this way.

        There are no addresses if the way is `agent` or `direct`: the agent, or this machine, resolves the name.

        Raises:
            DialError: there is no such name, or the last way that was tried does not answer.

        """
        problem = DialError(DialFailure.ENDPOINT, f"lookup {addresses.shown(host)} by {'+'.join(ways)}: no such host")
        for way in ways:
            if way in (name_rules.AGENT, name_rules.DIRECT):
                return [], way
            try:
                if found := await self.addresses(host, way):
                    return found, way
            except DialError as error:
                problem = error
        raise problem

    async def addresses(self, host: str, way: str) -> list[str]:
        """Return the addresses of a name, those of IPv4 first; empty if there is no such name.

        Raises:
            DialError: the resolver does not answer.

        """
        if way == name_rules.LOCAL:
            return await _local(host)
        from konnectivity.forward.names.dns_messages import DnsError  # loaded for a rule only: it takes memory
        from konnectivity.kube.api_error import KubeError

        try:
            if way == name_rules.KUBERNETES and self.services is not None:
                return await self.services.addresses(host)
            assert self.cluster_dns is not None, "a rule that names it needs --cluster-dns"
            return await self.cluster_dns.addresses(host)
        except (DnsError, KubeError) as error:
            text = f"lookup {addresses.shown(host)} by {way}: server misbehaving: {error}"
            raise DialError(DialFailure.ENDPOINT, text) from error


async def _dial_first(found: list[str], port: int, dial: Callable[[str], Awaitable[T]]) -> T:
    """Dial the first address that can be dialled."""
    for number, address in enumerate(found, 1):
        try:
            return await dial(addresses.joined(address, port))
        except DialError as error:
            if error.failure is not DialFailure.ENDPOINT or number == len(found):
                raise
    raise AssertionError("unreachable")


async def _local(host: str) -> list[str]:
    """Return what the resolver of this machine finds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise DialError(DialFailure.ENDPOINT, f"lookup {addresses.shown(host)}: i/o timeout") from error
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return []
        raise DialError(DialFailure.ENDPOINT, f"lookup {addresses.shown(host)}: {words_of(error)}") from error
    ordered = sorted(dict.fromkeys(str(each[4][0]) for each in found), key=lambda address: ":" in address)
    return ordered
