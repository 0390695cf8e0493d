"""Transport of a socket in memory: the test decides what arrives and how many bytes the kernel accepts."""

from __future__ import annotations

import asyncio
from typing import Any, cast


class KernelSocket(asyncio.Transport):
    """Transport of a buffered protocol, connected to it by `connect`.

    Attributes:
        sent: bytes that the kernel took.
        room: bytes that the kernel takes before it is full.
        reading: whether the protocol wants data.
        ended: whether the protocol has ended its output.
        closed: whether the socket is closed.
        aborted: whether the socket was closed without sending waiting bytes.

    """

    def __init__(self, tls: bool = False) -> None:
        super().__init__({"sslcontext": object()} if tls else {})
        self.sent = b""
        self.room = 1 << 30
        self.reading = True
        self.ended = False
        self.closed = False
        self.aborted = False
        self._loop = asyncio.get_running_loop()
        self._protocol: Any = None
        self._unsent = b""
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = False
        self._closing = False

    # methods for the test

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        """Connect the socket."""
        self._protocol = protocol
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Let data arrive."""
        while data:
            buffer = self._protocol.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self._protocol.buffer_updated(count)
            data = data[count:]

    def feed_eof(self) -> None:
        """Let the other end end its output."""
        if not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None = None) -> None:
        """Let the connection break."""
        self._end(error)

    def take(self, size: int) -> None:
        """Let the kernel take `size` bytes more."""
        self.room += size
        self._send()

    # asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast("asyncio.BaseProtocol", self._protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0
        self._pause_if_full()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def write(self, data: Any) -> None:
        assert not self.ended, "data after the end of output"
        if not self.closed:
            self._unsent += bytes(data)
            self._send()

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self._closing = True
        self.reading = False
        self._send()

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def _send(self) -> None:
        count = min(self.room, len(self._unsent))
        self.room -= count
        self.sent += self._unsent[:count]
        self._unsent = self._unsent[count:]
        if self._paused and len(self._unsent) <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        self._pause_if_full()
        if self._closing and not self._unsent:
            self._end(None)

    def _pause_if_full(self) -> None:
        if not self._paused and len(self._unsent) > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def _end(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, error)
