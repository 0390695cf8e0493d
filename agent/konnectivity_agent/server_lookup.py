"""Lookup of the addresses at which an agent reaches its proxy servers.

Owns the time of the next lookup. Does not know what is connected. Targets are looked up by `resolver`, not here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence

from konnectivity.net.happy_eyeballs import AddressInfo
from konnectivity_agent.pool_plan import DialAddress

LOOKUP_INTERVAL_S = 30.0  # seconds between two regular lookups
LOOKUP_TIMEOUT_S = 5.0  # seconds for the lookup of one host name

Host = tuple[str, int]  # a server or load balancer: name or address, and port


class ServerLookup:
    """Addresses of all configured hosts, looked up again from time to time.

    Args:
        hosts: host and port of each server or load balancer.
        by_name: those of the hosts that are dialled by name, because a forward proxy or grpcio resolves the name.
        getaddrinfo: looks one host up, with the signature of the event loop's method; None: that method.

    """

    def __init__(
        self,
        hosts: Sequence[Host],
        by_name: Collection[Host] = (),
        getaddrinfo: Callable[..., Awaitable[list[AddressInfo]]] | None = None,
    ) -> None:
        self._hosts = hosts
        self._by_name = by_name
        self._loop = asyncio.get_running_loop()
        self._getaddrinfo = getaddrinfo or self._loop.getaddrinfo
        self._due_at = 0.0

    @property
    def due(self) -> bool:
        """Return whether the addresses are to be looked up now."""
        return self._loop.time() >= self._due_at

    def hasten(self, seconds: float = 0.0) -> None:
        """Make the next lookup due in `seconds` at the latest."""
        self._due_at = min(self._due_at, self._loop.time() + seconds)

    async def addresses(self) -> list[DialAddress]:
        """Look all hosts up and return their addresses; a host without any is returned by its name."""
        self._due_at = self._loop.time() + LOOKUP_INTERVAL_S
        found: list[DialAddress] = []
        for host, port in self._hosts:
            found += [DialAddress(host, port, ip) for ip in await self._ips(host, port)]
        return found

    async def _ips(self, host: str, port: int) -> list[str]:
        if (host, port) in self._by_name:
            return [""]
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = await self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, ValueError):
            return [""]  # the dial that follows looks the name up again and reports the error
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
