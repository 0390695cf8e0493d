"""Byte pump between a socket and a connection. Owns a client's or target's socket from its first byte to its close.

Reads go through the one buffer of the event loop's thread, and are never larger than the connection's credit.
Writes are handed to the kernel at once. Does not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import cast

from konnectivity.net import read_buffer
from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.net.error_texts import words_of
from konnectivity.net.tcp_keepalive import keep_alive
from konnectivity.runtime.progress_limit import ProgressLimit
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import UNREAD_TIMEOUT_S, Buffer
from konnectivity.tunnel.outbound_queue import MAX_PAYLOAD, OutboundQueue

LINGER_S = 5.0  # seconds that the other end may send after this side has closed
HANGUP_CHECK_S = 1.0  # between two looks whether a unix socket that ended its output is closed altogether
_SMALL = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay(asyncio.BufferedProtocol):
    """Local side of a connection, made of an asyncio transport (TCP, TLS or unix).

    A relay is either made before its socket (`connection_made` follows), or takes a socket over with `adopt`.

    Args:
        loop: event loop of the socket.
        closing: closing sockets of the program, which the socket of the relay joins when it is told to close.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, closing: ClosingSockets) -> None:
        self.connection: Connection | None = None
        self._outbound: OutboundQueue | None = None  # outbound queue of the connection
        self._loop = loop
        self._closing_sockets = closing
        self._buffer = read_buffer.buffer()[:MAX_PAYLOAD]
        self._transport: asyncio.Transport | None = None
        self._plain = True  # no TLS: the two directions can end one by one
        self._unix_socket = False
        self._blocked = False
        self._watched = False  # `watch` is armed
        self._eof_received = False
        self._closing = False
        self._early = b""  # bytes read before there was a connection
        self._lost = ""
        self._timer: asyncio.TimerHandle | ProgressLimit[int] | None = None

    def attach(self, connection: Connection, early: bytes = b"", ended: bool = False) -> None:
        """Start to pump bytes between the socket and a connection.

        Args:
            connection: the connection.
            early: bytes that were read from the socket before.
            ended: whether the end of the socket's output was seen before.

        """
        self.connection = connection
        self._outbound = connection.outbound
        early += self._early
        self._early = b""
        if early:
            connection.outbound.send(early)
        if ended or self._eof_received:
            self.eof_received()
        elif not connection.outbound.paused:
            self.resume()
        if self._transport is None:
            connection.local_lost(self._lost)

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take over a socket that another protocol has read from."""
        transport.set_protocol(self)
        self.connection_made(transport)

    # ---- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._plain = transport.get_extra_info("sslcontext") is None
        sock = transport.get_extra_info("socket")
        if sock is not None:
            family = sock.family
            self._unix_socket = family == socket.AF_UNIX
            if not self._unix_socket:
                keep_alive(sock, family)

    def get_buffer(self, sizehint: int) -> memoryview:
        outbound = self._outbound
        if outbound is None or outbound.credit >= MAX_PAYLOAD or outbound.credit <= 0:
            return self._buffer
        return self._buffer[: outbound.credit]

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        if self._outbound is not None:
            self._outbound.send(bytes(self._buffer[:nbytes]))
        elif self._transport is not None:
            # A target that sends first. (The event loop starts to read, whatever `connection_made` does.)
            self._early += bytes(self._buffer[:nbytes])
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof_received = True
        connection, transport, closing = self.connection, self._transport, self._closing
        if closing or transport is None:
            return False
        if connection is None:
            return True
        if not self._plain or (self._unix_socket and hung_up(transport)):
            connection.local_gone()
            return False if connection.closed else self._plain
        connection.local_end()
        if self._closing:
            return False
        if self._unix_socket:
            self._timer = self._loop.call_later(HANGUP_CHECK_S, self._check_hangup)
        return True

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        connection, transport = self.connection, self._transport
        if connection is None or transport is None:
            return
        if self._watched:
            self._watched = False
            transport.set_write_buffer_limits(high=1, low=0)  # if bytes wait, this calls `pause_writing`
            if transport.get_write_buffer_size():
                connection.inbound.local_progress()
                return
        connection.inbound.local_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._transport = None
        self._lost = _reason(exc)
        self._closing_sockets.remove(self)
        if self.connection is not None:
            self.connection.local_lost(self._lost)

    # ---- LocalSide -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> bool:
        transport = self._transport
        if transport is None:
            return True
        # A view that waits would keep the whole read that it is part of. So small views are copied, and all views while
        # the socket blocks.
        transport.write(data if len(data) >= _SMALL and not self._blocked else bytes(data))
        return not self._blocked

    def write_eof(self) -> None:
        if self._transport is None:
            return
        if self._plain:
            self._transport.write_eof()
        elif self.connection is not None:
            self.close()  # asyncio's TLS cannot end one direction only
            self.connection.local_gone("closed after the far side ended its data")

    def close(self) -> None:
        transport = self._transport
        if transport is None or self._closing:
            return
        self._closing = True
        self._cancel_timer()
        self._closing_sockets.add(self)
        if self._plain and not self._eof_received:
            # A close with unread input makes the kernel send RST, which can destroy what was just written: end this
            # side's output, and read on for a moment.
            transport.write_eof()
            transport.resume_reading()
            self._timer = self._loop.call_later(LINGER_S, self._linger_over)
        else:
            transport.close()
            self._watch_flush()

    def abort(self, reason: str) -> None:
        transport = self._transport
        if transport is None:
            return
        self._closing = True
        self._cancel_timer()
        sock = transport.get_extra_info("socket")
        if sock is not None and not self._unix_socket:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()

    def buffered(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def unwritten(self) -> bool:
        """Return whether bytes may wait for the socket; asyncio's TLS does not tell about all of its bytes."""
        return self._transport is not None and (not self._plain or self._transport.get_write_buffer_size() > 0)

    def watch(self, left: int) -> None:
        if self._blocked and not self._watched and self._transport is not None:
            self._watched = True
            self._transport.set_write_buffer_limits(high=left, low=left)

    def pause(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _check_hangup(self) -> None:
        if self.connection is None or self._transport is None:
            return
        if hung_up(self._transport):
            self.connection.local_gone()
        else:
            self._timer = self._loop.call_later(HANGUP_CHECK_S, self._check_hangup)

    def _linger_over(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._watch_flush()

    def _watch_flush(self) -> None:
        """Abort when the socket takes nothing of what waits for it for `UNREAD_TIMEOUT_S`."""
        if self._transport is not None:
            self._timer = ProgressLimit(self._loop, UNREAD_TIMEOUT_S, self.buffered, self._stuck)

    def _stuck(self) -> None:
        self.abort("nothing was taken in time while closing")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def hung_up(transport: asyncio.Transport) -> bool:
    """Return whether the other end closed both directions, not only its output.

    Only a plain unix socket can tell the two apart; of any other socket the answer is True.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # POLLHUP is always reported
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _reason(exc: Exception | None) -> str:
    return "the connection was lost" if exc is None else words_of(exc)
