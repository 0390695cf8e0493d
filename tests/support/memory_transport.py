"""asyncio transport in memory: records what a protocol writes, and delivers the bytes that a test gives."""

from __future__ import annotations

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """Transport of a client's socket whose other end is the test and reads everything.

    Args:
        protocol: protocol of the new connection.
        address: address of the client, as `peername`.

    """

    def __init__(self, protocol: asyncio.BaseProtocol, address: tuple[str, int] = ("10.1.1.1", 1000)) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.written = b""
        self.ended = False  # `write_eof` was called
        self.closed = False
        self.aborted = False
        self.reading = True
        self._address = address
        protocol.connection_made(self)

    # ---- called by the test ---------------------------------------------------------------------------------------

    def says(self, data: bytes) -> None:
        """Deliver bytes of the client, in the way the current protocol takes them."""
        assert self.reading, "the protocol does not read"
        if isinstance(self.protocol, asyncio.BufferedProtocol):
            while data:
                buffer = memoryview(self.protocol.get_buffer(len(data)))[: len(data)]
                buffer[:] = data[: len(buffer)]
                self.protocol.buffer_updated(len(buffer))
                data = data[len(buffer) :]
        else:
            self.protocol.data_received(data)

    def ends(self) -> None:
        """End the client's output."""
        if not self.protocol.eof_received():
            self.close()

    def vanishes(self) -> None:
        """Lose the connection."""
        self.closed = True
        self.protocol.connection_lost(ConnectionResetError(104, "Connection reset by peer"))

    # ---- asyncio.Transport ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._address if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        assert not self.ended, "data after the end"
        if not self.closed:
            self.written += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()
