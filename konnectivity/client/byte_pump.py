"""Pump of bytes between two connections, each with a reader and a writer, until both directions have ended.

Owns both connections from the call on: their sockets deliver to the pump, without readers and tasks in between. A side
that ends its data ends only its direction; a side that breaks resets the other one, so that a loss never looks like an
end. Does not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import cast

from konnectivity.client.target_writer import take_unread

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK = 64 * 1024
HALF_CLOSED_S = 10.0  # seconds without data from the other side, where the end of data cannot be passed on (TLS)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class BytePump:
    """Pump between two connections. A pump that is cancelled, or fails, resets both.

    Args:
        one, other: the connections.
        early: bytes of `one` that were read before.

    """

    def __init__(self, one: Streams, other: Streams, early: bytes = b"") -> None:
        self._ends = one, other
        self._early = early
        self._loop = asyncio.get_running_loop()
        self._sides = _PumpSide(self, one[1]), _PumpSide(self, other[1])
        for side, opposite in (self._sides, self._sides[::-1]):
            side.join(opposite)
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Pass bytes on in both directions until both have ended, or one side breaks; then close both."""
        self._over = self._loop.create_future()
        try:
            self._take_over()
            await self._over
        except BaseException:
            self.abort()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for side in self._sides:
                side.leave()
            for _, writer in self._ends:
                writer.close()

    def abort(self) -> None:
        """Reset both connections."""
        for side in self._sides:
            side.stop()
        for _, writer in self._ends:
            reset(writer)
        self._finish()

    def side_ended(self, side: _PumpSide) -> None:
        """Pass on the end of one side's data, or await the silence of the other side where it cannot be passed on."""
        opposite = side.opposite
        if opposite.ended:
            self._finish()
        elif opposite.writer.can_write_eof():
            with suppress(OSError, RuntimeError):  # closed altogether: its own direction says how
                opposite.writer.write_eof()
        else:
            opposite.note_time()
            self._await_silence(opposite)

    def _take_over(self) -> None:
        """Let both sockets deliver to the pump, and pass on what their readers hold."""
        for side in self._sides:
            side.take_over()
        for side, (reader, _), early in zip(self._sides, self._ends, (self._early, b""), strict=True):
            if side.over or reader.exception() is not None:
                self.abort()
                return
            if unread := early + take_unread(reader):
                side.data_received(unread)
            if reader.at_eof():
                side.eof_received()
            elif not side.opposite.blocked:
                side.read_on()

    def _await_silence(self, side: _PumpSide) -> None:
        """Close both connections when a side has sent nothing for HALF_CLOSED_S."""
        due = side.moved_at + HALF_CLOSED_S
        if self._loop.time() >= due:
            self._finish()
        else:
            self._timer = self._loop.call_at(due, self._await_silence, side)

    def _finish(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class _PumpSide(asyncio.Protocol):
    """Protocol of one connection of a pump: what arrives is written to the opposite one.

    Attributes:
        writer, transport: of the connection.
        opposite: the other side.
        ended: whether the connection delivers no more data.
        blocked: whether the connection takes no more data for now.
        moved_at: time of the last bytes from the connection.
        over: whether the pump is at its end.

    """

    __slots__ = (
        "_before",
        "_lost",
        "_pump",
        "_time",
        "_tls",
        "blocked",
        "ended",
        "moved_at",
        "opposite",
        "over",
        "transport",
        "writer",
    )

    moved_at: float
    opposite: _PumpSide
    _before: asyncio.BaseProtocol  # of the reader

    def __init__(self, pump: BytePump, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.transport = cast("asyncio.Transport", writer.transport)
        self.ended = self.blocked = self.over = False
        self._lost = False
        self._pump = pump
        self._tls = writer.get_extra_info("sslcontext") is not None
        self._time = asyncio.get_running_loop().time
        self.note_time()

    def join(self, opposite: _PumpSide) -> None:
        """Write to the opposite side what arrives here."""
        self.opposite = opposite

    def note_time(self) -> None:
        """Let the time of silence begin anew."""
        self.moved_at = self._time()

    def take_over(self) -> None:
        """Receive from the connection, in the place of its reader."""
        self._before = self.transport.get_protocol()
        self.transport.set_protocol(self)

    def read_on(self) -> None:
        """Let the connection deliver data again, if it is open."""
        if not self.over and not self.transport.is_closing() and not self.transport.is_reading():
            self.transport.resume_reading()

    def stop(self) -> None:
        """Pass nothing on any more."""
        self.over = True

    def leave(self) -> None:
        """Pass nothing on any more, and forget the pump and the opposite side."""
        self.over = True
        del self._pump, self.opposite

    def data_received(self, data: bytes) -> None:
        """Write bytes to the opposite connection; reset both if it is gone."""
        if self.over:
            return
        self.moved_at = self._time()
        opposite = self.opposite
        if opposite._lost or opposite.transport.is_closing():
            self._pump.abort()
        else:
            opposite.transport.write(data)

    def eof_received(self) -> bool:
        """Pass on the end; return whether the connection stays open for the other direction, which TLS cannot."""
        if not self.ended and not self.over:
            self.ended = True
            self._pump.side_ended(self)
        return not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        """Reset the opposite connection if this one broke; otherwise its data has ended."""
        self._lost = True
        cast("asyncio.Protocol", self._before).connection_lost(exc)  # so that `wait_closed` of the writer returns
        if self.over:
            return
        if exc is not None:
            self._pump.abort()
        else:
            self.eof_received()

    def pause_writing(self) -> None:
        """Read no more from the opposite connection: this one takes no more."""
        self.blocked = True
        if not self.over and not self.opposite.transport.is_closing():
            self.opposite.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the opposite connection again."""
        self.blocked = False
        if not self.over:
            self.opposite.read_on()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset, where its socket knows one."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX and not writer.transport.is_closing():
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
