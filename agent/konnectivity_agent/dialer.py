"""Opens targets: name resolution, IPv4 and IPv6 raced (RFC 8305), one deadline over all of it.

Error texts are the ones that clients of the established agent match on.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohappyeyeballs

from konnectivity import destination, logs
from konnectivity.counters import Histogram
from konnectivity.relay import Relay
from konnectivity.serving import DialIn

log = logs.get(__name__)

DIAL_TIMEOUT_S = 5.0  # including name resolution
ATTEMPT_DELAY_S = 0.25  # RFC 8305 section 5
_TEXTS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ECONNRESET: "connect: connection reset by peer",
    errno.ETIMEDOUT: "connect: connection timed out",
    errno.EACCES: "connect: permission denied",
    errno.EPERM: "connect: operation not permitted",
    errno.EADDRNOTAVAIL: "connect: cannot assign requested address",
    errno.EMFILE: "socket: too many open files",
    errno.ENFILE: "socket: too many open files in system",
}


DIAL_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30)


@dataclass(slots=True)
class Dials:
    """Plain counters of what a dialer did, read when somebody scrapes."""

    seconds: Histogram = field(default_factory=lambda: Histogram(DIAL_BOUNDS))
    failures: dict[str, int] = field(default_factory=dict)  # by reason: timeout, unknown

    def failed(self, reason: str) -> None:
        self.failures[reason] = self.failures.get(reason, 0) + 1


class Dialer:
    """The opener of an agent's serving tunnels. Its dials live in the given task group."""

    def __init__(self, tasks: asyncio.TaskGroup, dials: Dials, timeout_s: float = DIAL_TIMEOUT_S) -> None:
        self._tasks = tasks
        self._dials = dials
        self._timeout_s = timeout_s

    def open(self, dial: DialIn) -> None:
        """Start to open what the server asks for."""
        try:
            host, port = self._check(dial)
        except ValueError as error:
            self._dials.failed("unknown")
            dial.failed(f"dial {dial.protocol}: {error}")
            return
        task = self._tasks.create_task(self._dial(dial, host, port), name=f"dial {dial.address}")
        dial.on_cancel = task.cancel

    def _check(self, dial: DialIn) -> tuple[str, int]:
        if dial.protocol not in ("tcp", "tcp4", "tcp6"):
            raise ValueError(f"unknown network {dial.protocol}")
        return destination.split(dial.address)

    async def _dial(self, dial: DialIn, host: str, port: int) -> None:
        started = time.monotonic()
        relay = Relay()
        try:
            async with asyncio.timeout(self._timeout_s):
                transport = await _connect(relay, dial.protocol, host, port)
        except (OSError, TimeoutError, UnicodeError) as error:
            text = _text(error, dial, host)
            if log.v(2):
                log.info("Dial failed", destination=dial.address, reason=text)
            self._dials.failed("timeout" if isinstance(error, TimeoutError) else "unknown")
            dial.failed(text)
            return
        took = time.monotonic() - started
        self._dials.seconds.observe(took)
        link = dial.connected(relay)
        if link is None:
            transport.abort()
            return
        relay.attach(link)
        if log.v(4):
            log.info("Dialled", destination=dial.address, connection=link.connect_id, seconds=round(took, 6))


def _connect(relay: Relay, protocol: str, host: str, port: int) -> Coroutine[Any, Any, asyncio.Transport]:
    family = {"tcp": socket.AF_UNSPEC, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}[protocol]
    address = host or "127.0.0.1"  # as Go: no host is this host
    return (
        _connect_literal(relay, address, port) if _is_literal(address) else _connect_name(relay, family, address, port)
    )


async def _connect_literal(relay: Relay, host: str, port: int) -> asyncio.Transport:
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: relay, host, port)
    return transport


async def _connect_name(relay: Relay, family: int, host: str, port: int) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=ATTEMPT_DELAY_S, interleave=1)
    transport, _ = await loop.create_connection(lambda: relay, sock=sock)
    return transport


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _text(error: BaseException, dial: DialIn, host: str) -> str:
    network, address = dial.protocol, dial.address
    if isinstance(error, TimeoutError) and not isinstance(error, OSError):
        return f"dial {network} {address}: i/o timeout"
    if isinstance(error, socket.gaierror):
        temporary = error.errno == socket.EAI_AGAIN
        why = "server misbehaving" if temporary else "no such host"
        return f"dial {network}: lookup {host}: {why}"
    if isinstance(error, UnicodeError):
        return f"dial {network}: lookup {host}: no such host"
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, TimeoutError):
        return f"dial {network} {address}: i/o timeout"
    known = _TEXTS.get(number) if number is not None else None
    return f"dial {network} {address}: {known or str(error)}"
