"""TCP listener that limits concurrent connections per source address and runs the TLS handshakes.

Owns the listening sockets, the number of connections per source, and the handshakes in progress. Does not know the
protocol inside TLS. A connection counts from the moment it is accepted, before TLS, so that one without a complete
handshake counts as well; behind a load balancer, from the moment its client is stated.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from konnectivity.net import peer_address
from konnectivity.net.error_texts import words_of
from konnectivity.net.source_address import source_of_host
from konnectivity.runtime import logs, task_guard
from konnectivity.tls import handshake, handshake_failures

if TYPE_CHECKING:
    from konnectivity.net.proxied_sources import ProxiedSources

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

TLS_HANDSHAKE_TIMEOUT_S = 10.0
REFUSED_TIMEOUT_S = 1.0  # seconds for a peer to read the alert of its failed handshake and close
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESERVED = 1024  # maximum number of descriptors that a sparing listener leaves to others
_RESERVED_SHARE = 8  # divisor: an eighth of the process's descriptors is reserved
_PAUSE_S = 0.5  # before accepting again, when the process has no descriptors left


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits and counters of accepted TCP connections."""

    tasks: asyncio.TaskGroup
    per_source: int = 0  # concurrent connections of one source; 0: unlimited
    handshake_timeout_s: float = TLS_HANDSHAKE_TIMEOUT_S
    shared: bool = False  # whether other processes of this user may listen on the port
    sparing: frozenset[str] = frozenset()  # names of listeners that leave the last descriptors to others
    reached: Counter[str] = field(default_factory=Counter)  # number of times each limit was reached, by name
    handshake_failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # by listener and reason
    proxied: ProxiedSources | None = None  # reader of PROXY protocol headers; None: no header is read


# Socket of the connection whose handshake, and later whose callbacks, run in this context.
accepting: ContextVar[AcceptedSocket | None] = ContextVar("accepting", default=None)


class SourceLimitedListener:
    """TCP listener with limits per source.

    Args:
        what: name of the listener, for log and metrics.
        sockets: listening sockets, which `close` closes.
        context: TLS, or None.
        factory: makes the protocol of a connection.
        limits: limits, counters, and the task group of the handshakes.

    Attributes:
        open: number of open connections by source.

    """

    def __init__(
        self,
        what: str,
        sockets: list[socket.socket],
        context: ssl.SSLContext | None,
        factory: Callable[[], asyncio.BaseProtocol],
        limits: SourceLimits,
    ) -> None:
        self.open: Counter[str] = Counter()
        self._what = what
        self._sockets = sockets
        self._context = context
        self._handshake_timeout_s = limits.handshake_timeout_s if context is not None else None
        self._factory = factory
        self._limits = limits
        self._spares_descriptors = what in limits.sparing
        self._handshakes: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        for each in sockets:
            each.setblocking(False)
            self._loop.add_reader(each, self._accept, each)

    def close(self) -> None:
        """Accept no more connections and end the handshakes in progress. Established connections stay."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets = []
        for task in self._handshakes:
            task.cancel()

    def left(self, source: str) -> None:
        """Count the end of one connection of `source`."""
        self.open[source] -= 1
        if not self.open[source]:
            del self.open[source]

    def _accept(self, listening: socket.socket) -> None:
        """Accept one connection in a pass of the event loop: its TLS handshake may take milliseconds."""
        try:
            sock, address = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _FULL:
                raise
            log.error("Cannot take connections", reason=words_of(error))
            self._loop.remove_reader(listening)
            self._loop.call_later(_PAUSE_S, self._resume, listening)
            return
        sock.setblocking(False)
        if self._limits.proxied is None:
            self._admit(sock, address[0])
        else:
            self._announce(sock, address, self._limits.proxied)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _announce(self, sock: socket.socket, address: tuple[str, int], proxied: ProxiedSources) -> None:
        """Admit a connection when its PROXY protocol header has been read."""
        if not self._spare(sock, address[0]):
            self._start(lambda: self._receive_header(sock, address, proxied), address[0], sock.close)

    async def _receive_header(self, sock: socket.socket, address: tuple[str, int], proxied: ProxiedSources) -> None:
        found = await proxied.receive(sock, address[0])
        if isinstance(found, handshake_failures.Failure):
            sock.close()
            self._failed(address[0], found, "PROXY protocol header refused")
            return
        if found is not None:
            peer_address.stated.set(peer_address.StatedAddress(address[:2], found))
        self._admit(sock, address[0] if found is None else found[0])

    def _admit(self, sock: socket.socket, address: str) -> None:
        source, limit = source_of_host(address), self._limits.per_source
        if limit and self.open[source] >= limit:
            if log.v(2):
                peer_log.info(
                    source, "Connection refused: too many of its source", what=self._what, source=source, limit=limit
                )
            self._limits.reached["connections_per_source"] += 1
            sock.close()
            return
        if self._spare(sock, address):
            return
        self.open[source] += 1
        accepted = AcceptedSocket(self, source, sock.detach())
        self._start(lambda: self._handshake(accepted, address), address, accepted.close)

    def _spare(self, sock: socket.socket, address: str) -> bool:
        """Close a connection whose descriptor is reserved for others, and return whether it was."""
        if not self._spares_descriptors or sock.fileno() < unreserved_descriptors():
            return False
        if log.v(2):
            source = source_of_host(address)
            peer_log.info(source, "Connection refused: descriptors are scarce", what=self._what, source=source)
        self._limits.reached["descriptors"] += 1
        sock.close()
        return True

    def _start(self, work: Callable[[], Awaitable[None]], address: str, release: Callable[[], object]) -> None:
        """Start the task of a connection; `release` closes the connection if the task fails or is cancelled."""
        task = task_guard.start(self._limits.tasks, work, "handshake", f"handshake with {address}", release)
        self._handshakes.add(task)
        task.add_done_callback(lambda ended: self._task_ended(ended, release))

    def _task_ended(self, task: asyncio.Task[None], release: Callable[[], object]) -> None:
        self._handshakes.discard(task)
        if task.cancelled():  # perhaps before it began
            release()

    async def _handshake(self, accepted: AcceptedSocket, address: str) -> None:
        accepting.set(accepted)
        attempt = _Attempt()
        handshake.on_failure.set(attempt.fail)
        try:
            async with asyncio.timeout(None) as attempt.deadline:
                await self._loop.connect_accepted_socket(
                    self._factory, accepted, ssl=self._context, ssl_handshake_timeout=self._handshake_timeout_s
                )
        except (TimeoutError, ConnectionAbortedError):  # event loops raise the second one for a timeout of their own
            attempt.ended(handshake_failures.TIMEOUT)
        except OSError:
            attempt.ended(handshake_failures.CLOSED)
        finally:
            attempt.deadline = None  # otherwise a cycle of objects waits for the garbage collector
        if attempt.failure is not None:
            self._failed(address, attempt.failure, "TLS handshake failed")

    def _failed(self, address: str, failure: handshake_failures.Failure, event: str) -> None:
        self._limits.handshake_failures[self._what, failure.reason] += 1
        if failure.reason == handshake_failures.TIMEOUT:
            self._limits.reached["handshake"] += 1
        if failure.text:
            peer_log.warning(source_of_host(address), event, listener=self._what, peer=address, reason=failure.text)


class _Attempt:
    """Handshake in progress.

    Attributes:
        failure: reason of the failure, or None.
        deadline: the handshake's timeout, while it runs.

    """

    __slots__ = ("deadline", "failure")

    def __init__(self) -> None:
        self.failure: handshake_failures.Failure | None = None
        self.deadline: asyncio.Timeout | None = None

    def fail(self, error: ssl.SSLError) -> None:
        """Record the reason, and give the peer REFUSED_TIMEOUT_S to read the alert and close."""
        self.failure = handshake_failures.of_client(error)
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + REFUSED_TIMEOUT_S)

    def ended(self, reason: str) -> None:
        """Record the reason of a handshake that ended without a TLS error."""
        if self.failure is None:
            self.failure = handshake_failures.Failure(reason, "")


class AcceptedSocket(socket.socket):
    """Accepted connection; reports its end to the listener when the event loop calls `close` or (uvloop) `detach`."""

    def __init__(self, listener: SourceLimitedListener, source: str, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._listener: SourceLimitedListener | None = listener
        self._source = source
        self._on_end: Callable[[], object] | None = None

    def call_at_end(self, on_end: Callable[[], object]) -> None:
        """Call a function once, when the connection ends."""
        self._on_end = on_end

    def detach(self) -> int:
        self._report_end()
        return super().detach()

    def close(self) -> None:
        self._report_end()
        super().close()

    def _report_end(self) -> None:
        listener, self._listener = self._listener, None
        on_end, self._on_end = self._on_end, None
        if listener is not None:
            listener.left(self._source)
        if on_end is not None:
            on_end()


def unreserved_descriptors() -> int:
    """Return the lowest reserved descriptor. The kernel assigns the lowest free one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most - min(_RESERVED, most // _RESERVED_SHARE) if most != resource.RLIM_INFINITY else sys.maxsize
