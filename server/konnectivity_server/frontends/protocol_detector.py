"""Detection of the protocol of a frontend connection, HTTP CONNECT or gRPC, by its first bytes.

Owns the socket until the bytes are known. Does not know what either protocol does with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from konnectivity.grpc.http2_transport import Http2Transport
from konnectivity.http2.frames import PREFACE

_FIRST = PREFACE[:4]  # no HTTP/1 method begins with it


class ProtocolDetector(asyncio.Protocol):
    """Protocol of a connection until its first bytes are read.

    Args:
        grpc: returns the protocol of a gRPC connection.
        connect: returns the protocol of an HTTP CONNECT client, given the bytes that were read.
        first_bytes_timeout_s: longest time until the first bytes arrive, in seconds.
        loop: event loop of the connection.

    """

    def __init__(
        self,
        grpc: Callable[[], Http2Transport],
        connect: Callable[[bytes], asyncio.Protocol],
        first_bytes_timeout_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._loop = loop
        self._first_bytes_timeout_s = first_bytes_timeout_s
        self._grpc = grpc
        self._connect = connect
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, and close the connection if they do not arrive in time."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._first_bytes_timeout_s, self._transport.close)

    def data_received(self, data: bytes) -> None:
        """Hand the connection on when the bytes tell the protocol."""
        self._first += data
        if len(self._first) < len(_FIRST) and _FIRST.startswith(self._first):
            return
        transport = self._transport
        self._leave()
        if transport is None:
            return
        if self._first.startswith(_FIRST):
            grpc = self._grpc()
            transport.set_protocol(grpc)
            grpc.connection_made(transport)
            grpc.data_received(self._first)
        else:
            connect = self._connect(self._first)
            transport.set_protocol(connect)
            connect.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()

    def _leave(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
