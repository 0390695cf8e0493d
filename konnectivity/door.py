"""Listening TCP sockets that take no more than so many connections of one source address.

Owns the sockets, who is inside by source, and the TLS handshakes under way. Knows nothing of what is spoken inside.
A connection counts from its first packet, before TLS, to its last: what never finishes a handshake counts too.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from konnectivity import logs, task_guard
from konnectivity.net.error_words import words_of

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

_AT_ONCE = 100  # connections taken in one pass of the event loop
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_S = 0.5  # before another try, when the process has no descriptors left


class Door:
    """See the module.

    Args:
        sockets: that listen; the door closes them.
        limit: connections of one source address at a time.
        context: TLS, if wanted.
        handshake_timeout_s: of TLS.
        factory: makes the protocol of a connection.
        tasks: where the handshakes run.
        reached: counts the refused as `connections_per_source`, and `handshake`.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        limit: int,
        context: ssl.SSLContext | None,
        handshake_timeout_s: float,
        factory: Callable[[], asyncio.BaseProtocol],
        tasks: asyncio.TaskGroup,
        reached: Counter[str],
    ) -> None:
        self.inside: Counter[str] = Counter()
        self._sockets = sockets
        self._limit = limit
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s if context is not None else None
        self._factory = factory
        self._tasks = tasks
        self._reached = reached
        self._loop = asyncio.get_running_loop()
        for each in sockets:
            each.setblocking(False)
            self._loop.add_reader(each, self._knocked, each)

    def close(self) -> None:
        """Take no more. Those inside stay."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets = []

    def left(self, source: str) -> None:
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

    def _arrived(self, accepted: socket.socket, source: str) -> None:
        if self.inside[source] >= self._limit:
            if log.v(2):
                peer_log.info(source, "Connection refused: too many of its source", source=source, limit=self._limit)
            self._reached["connections_per_source"] += 1
            accepted.close()
            return
        self.inside[source] += 1
        accepted.setblocking(False)
        guest = _Guest(self, source, accepted.detach())
        task_guard.start(
            self._tasks, lambda: self._let_in(guest), "handshake", f"handshake with {source}", failed=guest.close
        )

    async def _let_in(self, guest: _Guest) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._factory, guest, ssl=self._context, ssl_handshake_timeout=self._handshake_timeout_s
            )
        except (TimeoutError, ConnectionAbortedError):  # the second is how the event loops say it
            self._reached["handshake"] += 1
        except OSError:
            pass  # it hung up, or speaks no TLS that we do
        except asyncio.CancelledError:
            guest.close()
            raise


class _Guest(socket.socket):
    """A connection that tells the door when the event loop lets go of it: by `close`, or (uvloop) by `detach`."""

    def __init__(self, door: Door, source: str, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._door: Door | None = door
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


def bound(host: str, port: int, backlog: int, shared: bool) -> list[socket.socket]:
    """Listening sockets on `host` (empty: all interfaces, IPv4 and IPv6); `shared`: with other processes of this user.

    Raises:
        OSError: it cannot be had.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:  # no IPv6 in this kernel
                continue
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets
