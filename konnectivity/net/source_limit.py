"""TCP listener that limits concurrent connections per source address and runs the TLS handshakes.

Owns the listening sockets, the number of connections per source, and the handshakes in progress. Does not know the
protocol that is spoken inside. A connection counts from its first packet, before TLS, to its last: a connection that
never finishes its handshake counts as well.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import resource
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from konnectivity.net.error_texts import words_of
from konnectivity.net.source_address import source_of_host
from konnectivity.runtime import logs, task_guard
from konnectivity.tls import handshake, handshake_failures

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

TLS_HANDSHAKE_TIMEOUT_S = 10.0
REFUSED_TIMEOUT_S = 1.0  # for a peer whose handshake failed to read the alert and close
_AT_ONCE = 4  # connections taken in one pass of the event loop: each may bring milliseconds of TLS
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESERVED = 1024  # descriptors, at most, that connections of a listener which spares some leave to others
_RESERVED_SHARE = 8  # of the process's descriptors, the part (an eighth) that is reserved
_PAUSE_S = 0.5  # before another try, when the process has no descriptors left
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits and counters of connections that come in by TCP."""

    tasks: asyncio.TaskGroup
    per_source: int = 0  # concurrent connections of one source; 0: any number
    handshake_timeout_s: float = TLS_HANDSHAKE_TIMEOUT_S
    shared: bool = False  # with other processes of this user
    sparing: frozenset[str] = frozenset()  # listeners that leave the last descriptors to others
    reached: Counter[str] = field(default_factory=Counter)  # times each limit was reached, by name
    handshake_failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # by listener and reason


class SourceLimitedListener:
    """See the module.

    Args:
        what: name of the listener, for log and metrics.
        sockets: listening sockets; the door closes them.
        context: TLS, or None.
        factory: makes the protocol of a connection.
        entry: limits, counters, and the task group of the handshakes.

    """

    def __init__(
        self,
        what: str,
        sockets: list[socket.socket],
        context: ssl.SSLContext | None,
        factory: Callable[[], asyncio.BaseProtocol],
        entry: SourceLimits,
    ) -> None:
        self.inside: Counter[str] = Counter()
        self._what = what
        self._sockets = sockets
        self._context = context
        self._handshake_timeout_s = entry.handshake_timeout_s if context is not None else None
        self._factory = factory
        self._entry = entry
        self._spares_descriptors = what in entry.sparing
        self._arriving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        for each in sockets:
            each.setblocking(False)
            self._loop.add_reader(each, self._knocked, each)

    def close(self) -> None:
        """Accept no more connections and end the handshakes in progress. Established connections stay."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets = []
        for task in self._arriving:
            task.cancel()

    def left(self, source: str) -> None:
        """Count one connection of `source` less."""
        self.inside[source] -= 1
        if not self.inside[source]:
            del self.inside[source]

    def _knocked(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                log.error("Cannot take connections", reason=words_of(error))
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE_S, self._again, listening)
                return
            self._arrived(accepted, address[0])

    def _again(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._knocked, listening)

    def _arrived(self, accepted: socket.socket, address: str) -> None:
        source, limit = source_of_host(address), self._entry.per_source
        if limit and self.inside[source] >= limit:
            if log.v(2):
                peer_log.info(
                    source, "Connection refused: too many of its source", what=self._what, source=source, limit=limit
                )
            self._entry.reached["connections_per_source"] += 1
            accepted.close()
            return
        if self._spares_descriptors and accepted.fileno() >= unreserved_descriptors():
            if log.v(2):
                peer_log.info(source, "Connection refused: descriptors are scarce", what=self._what, source=source)
            self._entry.reached["descriptors"] += 1
            accepted.close()
            return
        self.inside[source] += 1
        accepted.setblocking(False)
        guest = _AcceptedSocket(self, source, accepted.detach())
        task = task_guard.start(
            self._entry.tasks,
            lambda: self._let_in(guest, address),
            "handshake",
            f"handshake with {address}",
            failed=guest.close,
        )
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _let_in(self, guest: _AcceptedSocket, address: str) -> None:
        attempt = _Attempt()
        handshake.on_failure.set(attempt.fail)
        try:
            async with asyncio.timeout(None) as attempt.deadline:
                await self._loop.connect_accepted_socket(
                    self._factory, guest, ssl=self._context, ssl_handshake_timeout=self._handshake_timeout_s
                )
        except (TimeoutError, ConnectionAbortedError):  # the second is how the event loops say it
            attempt.ended(handshake_failures.TIMEOUT)
        except OSError:
            attempt.ended(handshake_failures.CLOSED)
        except asyncio.CancelledError:
            guest.close()
            raise
        finally:
            attempt.deadline = None  # else a cycle of objects waits for the garbage collector
        if attempt.failure is not None:
            self._failed(address, attempt.failure)

    def _failed(self, address: str, failure: handshake_failures.Failure) -> None:
        self._entry.handshake_failures[self._what, failure.reason] += 1
        if failure.reason == handshake_failures.TIMEOUT:
            self._entry.reached["handshake"] += 1
        if failure.text:
            peer_log.warning(
                source_of_host(address), "TLS handshake failed", listener=self._what, peer=address, reason=failure.text
            )


class _Attempt:
    """Handshake in progress; `failure` says why it failed."""

    __slots__ = ("deadline", "failure")

    def __init__(self) -> None:
        self.failure: handshake_failures.Failure | None = None
        self.deadline: asyncio.Timeout | None = None

    def fail(self, error: ssl.SSLError) -> None:
        """Keep the reason, and let the peer read the alert and close, but not for long."""
        self.failure = handshake_failures.of_client(error)
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + REFUSED_TIMEOUT_S)

    def ended(self, reason: str) -> None:
        """Keep the reason of a handshake that ended without an error of TLS."""
        if self.failure is None:
            self.failure = handshake_failures.Failure(reason, "")


class _AcceptedSocket(socket.socket):
    """Accepted connection; tells the door when the event loop lets go of it, by `close` or (uvloop) by `detach`."""

    def __init__(self, door: SourceLimitedListener, source: str, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._door: SourceLimitedListener | None = door
        self._source = source

    def detach(self) -> int:
        self._leave()
        return super().detach()

    def close(self) -> None:
        self._leave()
        super().close()

    def _leave(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.left(self._source)


def unreserved_descriptors() -> int:
    """Return the lowest descriptor of the reserve. The kernel gives out the lowest one that is free."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most - min(_RESERVED, most // _RESERVED_SHARE) if most != resource.RLIM_INFINITY else sys.maxsize


def bound(host: str, port: int, backlog: int, shared: bool) -> list[socket.socket]:
    """Return listening sockets on `host`; empty, `0.0.0.0` and `::` are all interfaces, IPv4 and IPv6.

    Args:
        host, port: where; the name or address of an interface, or of all.
        backlog: connections that may wait to be accepted.
        shared: whether other processes of this user may listen there, too.

    Raises:
        OSError: the address cannot be had.

    """
    host = "" if is_unspecified(host) else host
    found = dict.fromkeys(socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, *_, address in found:
            if port == 0 and sockets:  # the same free port for both families
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(_listening(family, address, backlog, shared))
            except OSError as error:
                if host or error.errno not in _NO_FAMILY:
                    raise
                missing = error  # this machine has only the other family
        if missing is not None and not sockets:
            raise missing
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def is_unspecified(host: str) -> bool:
    """Return whether `host` stands for all interfaces: empty, `0.0.0.0`, `::`, or another way to write these."""
    try:
        return not host or ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_unspecified
    except ValueError:
        return False


def _listening(family: int, address: tuple[object, ...], backlog: int, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
