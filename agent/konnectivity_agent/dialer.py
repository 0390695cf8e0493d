"""Dialer of targets: lookup of the name, verdict of the policy, connection attempts, and one deadline over all three.

Owns the task of each dial and the socket until the tunnel takes it. A name is looked up once; the policy judges the
addresses found, and exactly those that pass are dialled. Error texts are those of Go, which clients match on, with the
first of several addresses. Does not know how many dials may run: `dial_queue` does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from konnectivity.errors import REFUSED_BY_POLICY
from konnectivity.metrics.histograms import Histogram
from konnectivity.net import addresses
from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.net.destination_policy import Policy, PolicyRefusal
from konnectivity.net.error_texts import NO_SUCH_HOST, TIMEOUT, errno_words, lookup_words, words_of
from konnectivity.net.happy_eyeballs import AddressInfo, ConnectError, connect_any, connect_one
from konnectivity.runtime import logs, task_guard
from konnectivity.tunnel.relay import Relay
from konnectivity_agent.dial_queue import MAX_WAIT_S, DialRequest, Turn

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

DIAL_TIMEOUT_S = 5.0  # seconds for lookup and connection attempts, without the wait between
_FAMILIES = {"tcp": socket.AF_UNSPEC, "tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_NO_FAMILY = (getattr(socket, "EAI_ADDRFAMILY", None), getattr(socket, "EAI_NODATA", None))

_REMEMBERED = 1024  # entries of each of two caches: the policy's verdicts, and socket addresses of numeric hosts
DIAL_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30)


@dataclass(slots=True)
class DialCounters:
    """Counters of the dials of one agent, for its metrics."""

    seconds: Histogram = field(default_factory=lambda: Histogram(DIAL_BOUNDS))
    failures: dict[str, int] = field(default_factory=dict)  # by reason: timeout, unknown
    denied: dict[str, int] = field(default_factory=dict)  # by the policy's reason

    def failed(self, reason: str) -> None:
        """Count a dial that failed."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def refused(self, reason: str) -> None:
        """Count a dial that the policy refused."""
        self.denied[reason] = self.denied.get(reason, 0) + 1


class NameLookup(Protocol):
    """Lookup of names, as `konnectivity_agent.resolver.Resolver` does it."""

    async def addresses(self, host: str, port: int, family: int) -> Sequence[AddressInfo]:
        """Return the addresses of a name; raise OSError or ValueError if there are none."""


class Refused(Exception):
    """Refusal of every address by the policy."""

    def __init__(self, refusal: PolicyRefusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Dialer:
    """Opens the connections to targets that servers ask for.

    Args:
        tasks: owns the task of each dial.
        dials: counts the outcomes.
        policy: judges each address.
        resolver: looks names up.
        timeout_s: seconds for the lookup and the connection attempts of one dial.
        clock: seconds of a monotonic clock.

    Attributes:
        closing: sockets of targets that were told to close, and may have unwritten bytes.

    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        dials: DialCounters,
        policy: Policy,
        resolver: NameLookup,
        timeout_s: float = DIAL_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.closing = ClosingSockets()
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._dials = dials
        self._refusal = lru_cache(_REMEMBERED)(policy.refusal)  # most dials go to few destinations
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._clock = clock

    def open(self, dial: DialRequest, turn: Turn | None = None) -> asyncio.Task[None] | None:
        """Start a dial and return its task; return None if the dial is refused at once.

        Args:
            dial: what a server asks for.
            turn: grants a place among the connection attempts, for which a dial of a name waits; None: does not wait.

        """
        try:
            host, port = addresses.parse(dial.protocol, dial.address)  # an agent does not rely on a server's check
        except ValueError as error:
            self._dials.failed("unknown")
            dial.failed(str(error))
            return None
        task = task_guard.start(
            self._tasks,
            lambda: self._dial(dial, host or "127.0.0.1", port, turn),  # no host is this host, as in Go
            "dial",
            f"dial {dial.address}",
            failed=lambda: self._failed(dial),
        )
        dial.on_cancel = task.cancel
        return task

    def _failed(self, dial: DialRequest) -> None:
        """Answer a dial that raised an unexpected exception."""
        self._dials.failed("unknown")
        dial.failed(f"dial {dial.protocol} {dial.address}: internal error of the agent")

    async def _dial(self, dial: DialRequest, host: str, port: int, turn: Turn | None) -> None:
        started = self._clock()
        relay = Relay(self._loop, self.closing)
        try:
            left_s = self._timeout_s
            if addresses.is_address(host):
                found: Sequence[AddressInfo] = _numeric(host, port, _FAMILIES[dial.protocol])
            else:
                async with asyncio.timeout(left_s):
                    found = await self._resolver.addresses(host, port, _FAMILIES[dial.protocol])
                left_s -= self._clock() - started
                if turn is not None:
                    async with asyncio.timeout(MAX_WAIT_S):
                        await turn.to_connect()
            async with asyncio.timeout(left_s):
                transport = await self._connect(relay, host, port, found)
        except Refused as refused:
            self._dials.refused(refused.refusal.reason)
            text = f"dial {dial.protocol} {dial.address}: {REFUSED_BY_POLICY}: {refused}"
            peer_log.warning(dial.address, "Dial refused", destination=dial.address, reason=str(refused))
            dial.failed(text)
            return
        except (OSError, TimeoutError, ValueError) as error:
            text = _text(error, dial, host)
            if log.v(2):
                peer_log.info(dial.address, "Dial failed", destination=dial.address, reason=text)
            late = isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT)
            self._dials.failed("timeout" if late else "unknown")
            dial.failed(text)
            return
        took = self._clock() - started
        self._dials.seconds.observe(took)
        connection = dial.connected(relay)
        if connection is None:
            transport.abort()
            return
        relay.attach(connection)
        if log.v(4):
            log.info("Dialled", destination=dial.address, connection=connection.connect_id, seconds=round(took, 6))

    async def _connect(self, relay: Relay, host: str, port: int, found: Sequence[AddressInfo]) -> asyncio.Transport:
        refusals = [self._refusal(host, str(each[4][0]), port) for each in found]
        allowed = [each for each, refusal in zip(found, refusals, strict=True) if refusal is None]
        if not allowed:
            raise Refused(next(filter(None, refusals)))
        if len(allowed) == 1 and allowed[0][0] == socket.AF_INET:
            return await connect_one(self._loop, allowed[0], relay)
        sock = await connect_any(allowed)
        transport, _ = await self._loop.create_connection(lambda: relay, sock=sock)
        return transport


@lru_cache(_REMEMBERED)
def _numeric(host: str, port: int, family: int) -> tuple[AddressInfo, ...]:
    """Return the socket address of a numeric host. Nothing is looked up, so this does not block."""
    return tuple(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))


def _descriptor_errno() -> int:
    """Return the error number of opening a file, or 0.

    Without a free descriptor the system's resolver cannot read its files, and calls every name unknown.
    """
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:
        return error.errno or 0
    return 0


def _text(error: BaseException, dial: DialRequest, host: str) -> str:
    """Return Go's text for a dial that failed."""
    network = dial.protocol
    if isinstance(error, ConnectError):
        return f"dial {network} {error.address}: {error.step}: {error.words}"
    if isinstance(error, socket.gaierror):
        if (number := _descriptor_errno()) in _NO_DESCRIPTORS:
            return f"dial {network}: lookup {host}: socket: {errno_words(number)}"
        if error.errno in _NO_FAMILY and _FAMILIES[network]:
            return f"dial {network}: address {host}: no suitable address found"
        return f"dial {network}: lookup {host}: {lookup_words(error)}"
    if isinstance(error, ValueError):
        return f"dial {network}: lookup {host}: {NO_SUCH_HOST}"
    words = TIMEOUT if isinstance(error, TimeoutError) else words_of(error)
    return f"dial {network} {dial.address}: {words}"
