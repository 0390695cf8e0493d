"""Headers of the PROXY protocol at a TCP listener: who may send one, and how long it may take.

Owns the headers that are being awaited. Reads from an accepted socket exactly the bytes of the header, so that TLS
begins with the next byte. Does not know the protocol behind the header.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from konnectivity.net.proxy_header import BadProxyHeader, ProxyHeader, Source, begins_header
from konnectivity.tls import handshake_failures
from konnectivity.tls.handshake_failures import Failure

MAX_AWAITED = 1024

Network = IPv4Network | IPv6Network


class ProxiedSources:
    """Rule of a listener's PROXY protocol headers.

    Args:
        trusted: networks of the load balancers.
        required: whether a connection without a header is refused, and every connection from elsewhere.
        timeout_s: maximum seconds from a connection's start to the end of its header.
        reached: number of times each limit was reached, by name.
        max_awaited: maximum number of headers that are awaited at a time, of all trusted addresses together.

    """

    def __init__(
        self,
        trusted: Iterable[Network],
        required: bool,
        timeout_s: float,
        reached: Counter[str],
        max_awaited: int = MAX_AWAITED,
    ) -> None:
        self._trusted = tuple(trusted)
        self._required = required
        self._timeout_s = timeout_s
        self._reached = reached
        self._max_awaited = max_awaited
        self._awaited: dict[asyncio.Timeout, None] = {}  # in the order in which the waits began

    async def receive(self, sock: socket.socket, host: str) -> Source | Failure | None:
        """Read the header of a connection from `host`.

        Args:
            sock: accepted socket, which does not block.
            host: address of the socket's other end.

        Returns:
            The stated client; None if the address of the socket holds; or why the connection is refused.

        """
        if not self._trusts(host):
            return _failure(_UNTRUSTED) if self._required else None
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                return await self._read(sock, deadline)
        except BadProxyHeader as error:
            return Failure(handshake_failures.INVALID_HEADER, f"it sent {error}")
        except TimeoutError:
            return Failure(handshake_failures.TIMEOUT, "")
        except OSError:
            return Failure(handshake_failures.CLOSED, "")

    async def _read(self, sock: socket.socket, deadline: asyncio.Timeout) -> Source | Failure | None:
        header = ProxyHeader()
        started = False
        try:
            while not header.complete:
                try:
                    seen = sock.recv(header.wanted, socket.MSG_PEEK)
                except (BlockingIOError, InterruptedError):
                    await self._readable(sock, deadline)
                    continue
                if not seen:
                    return Failure(handshake_failures.CLOSED, "")
                if not started and not begins_header(seen):
                    return _failure(_MISSING) if self._required else None
                started = True
                sock.recv(header.feed(seen))
            return header.source
        finally:
            self._awaited.pop(deadline, None)

    async def _readable(self, sock: socket.socket, deadline: asyncio.Timeout) -> None:
        """Wait for bytes. If too many connections wait, end the one that has waited longest."""
        if deadline not in self._awaited:
            if len(self._awaited) >= self._max_awaited:
                self._end_oldest()
            self._awaited[deadline] = None
        loop, number = asyncio.get_running_loop(), sock.fileno()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(number, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(number)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._awaited))
        del self._awaited[oldest]
        self._reached["proxy_headers"] += 1
        if not oldest.expired():
            oldest.reschedule(asyncio.get_running_loop().time())

    def _trusts(self, host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        return any(address in network for network in self._trusted)


_UNTRUSTED = "its address is in no network of --proxy-protocol-trusted, and --proxy-protocol=required"
_MISSING = "it sent no header, and --proxy-protocol=required: enable the PROXY protocol at the load balancer"


def _failure(text: str) -> Failure:
    return Failure(handshake_failures.MISSING_HEADER, text)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def parse_networks(texts: Iterable[str]) -> list[Network]:
    """Return the networks of a list of addresses and CIDR networks.

    Raises:
        ValueError: an item is neither.

    """
    return [_network(text.strip()) for text in texts]


def _network(text: str) -> Network:
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network; write it as 10.0.0.0/24, fd00::/64 or 10.0.0.1") from None
    host = text.partition("/")[0]
    if ip_address(host) != found.network_address:
        raise ValueError(f"{text!r} has bits behind its prefix; write {found} or {host}")
    return found
