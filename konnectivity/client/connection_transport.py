"""Connection as an asyncio transport: a connection that ends in this process, for our client.

`ConnectionTransport` is the side that the application's protocol writes to; `_Inlet` is the local side, which delivers
to that protocol.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio.base_events import BaseEventLoop
from collections.abc import Iterable
from typing import Any, cast

from konnectivity.client.target_writer import TargetWriter
from konnectivity.errors import TunnelLost
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import Buffer


def streams_of(connection: Connection) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a reader and a writer of a connection, and attach them to it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = ConnectionTransport(connection, protocol)
    protocol.connection_made(transport)
    return reader, TargetWriter(transport, protocol, reader, cast("asyncio.AbstractEventLoop", _Loop(loop)))


class _Loop:
    """Event loop as a `StreamWriter` uses it. TLS is that of asyncio: uvloop has it for sockets only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.create_future = loop.create_future
        self.is_closed = loop.is_closed
        self.start_tls = functools.partial(BaseEventLoop.start_tls, cast("BaseEventLoop", loop))


class ConnectionTransport(asyncio.Transport):
    """Application's side of the connection."""

    _start_tls_compatible = True  # asked for by `BaseEventLoop.start_tls`

    def __init__(self, connection: Connection, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": connection.destination})
        self._connection = connection
        self._inlet = _Inlet(connection, protocol)
        self._closing = False
        connection.attach(self._inlet)

    def write(self, data: Any) -> None:
        if data and not self._closing:
            self._connection.outbound.send(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._connection.local_end()

    def get_write_buffer_size(self) -> int:
        return self._connection.outbound.queued

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._inlet.discard()
            self._connection.local_gone()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._inlet.discard()
            self._connection.local_lost("aborted by the client")
            self._inlet.lose(None)

    def _force_close(self, exc: BaseException | None) -> None:
        """Abort; asyncio's TLS calls this after an error of its own."""
        self.abort()

    def is_closing(self) -> bool:
        return self._closing or self._inlet.lost

    def is_reading(self) -> bool:
        return self._inlet.reading

    def pause_reading(self) -> None:
        self._inlet.reading = False

    def resume_reading(self) -> None:
        self._inlet.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inlet.protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inlet.protocol


class _Inlet:
    """Local side of the connection: passes data to the application's protocol, or keeps it until the protocol reads."""

    def __init__(self, connection: Connection, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.reading = True
        self.lost = False
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._unread: list[bytes] = []
        self._eof = False  # the far side ended
        self._eof_told = False
        self._discarding = False

    # ---- LocalSide ------------------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> bool:
        if self._discarding:
            return True
        if not self.reading or self._unread:
            self._unread.append(bytes(data))
            return False
        self._deliver(bytes(data))
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._tell_eof()

    def close(self) -> None:
        self.write_eof()
        if self._eof_told or self._discarding:
            self.lose(None)

    def abort(self, reason: str) -> None:
        self.discard()
        self.lose(TunnelLost(reason))

    def buffered(self) -> int:
        return sum(map(len, self._unread))

    def watch(self, left: int) -> None:
        """Do nothing: an application that reads again takes everything at once."""

    def pause(self) -> None:
        self.protocol.pause_writing()

    def resume(self) -> None:
        if not self.lost:
            self.protocol.resume_writing()

    # ---- for the transport ----------------------------------------------------------------------------------------

    def resume_reading(self) -> None:
        """Deliver what waits, in a later pass of the loop: a protocol expects no data before this method returns."""
        if not self.reading:
            self.reading = True
            self._loop.call_soon(self._deliver_unread)

    def _deliver_unread(self) -> None:
        while self._unread and self.reading:
            self._deliver(self._unread.pop(0))
        if not self._unread:
            self._connection.inbound.local_drained()
            self._tell_eof()
            if self._connection.closed:
                self.lose(None)

    def _deliver(self, data: bytes) -> None:
        protocol: asyncio.BaseProtocol = self.protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            self.protocol.data_received(data)
            return
        left = memoryview(data)
        while left:  # a TLS layer takes the data in pieces of its own buffer
            buffer = memoryview(protocol.get_buffer(len(left)))
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            protocol.buffer_updated(count)
            left = left[count:]

    def discard(self) -> None:
        """Drop what waits and what arrives: the application takes no more."""
        self._discarding = True
        self._unread.clear()

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self.protocol.connection_lost, error)

    def _tell_eof(self) -> None:
        if self._eof and not self._eof_told and not self._unread and not self._discarding:
            self._eof_told = True
            if not self.protocol.eof_received():
                self._loop.call_soon(self._connection.local_gone, "the client closes at the end of input")
