"""Writer of a connection to a target, whose `start_tls` refuses bytes that arrived in cleartext.

Does not know tunnels and frontends.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast


class TargetWriter(asyncio.StreamWriter):
    """Writer of a connection to a target.

    Args:
        transport: transport of the connection.
        protocol: protocol that the transport has, which feeds the reader.
        reader: reader of the same connection.
        loop: event loop of the transport.

    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.StreamReaderProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._target_reader = reader

    async def start_tls(self, sslcontext: ssl.SSLContext, **options: Any) -> None:
        """Begin TLS on the connection; a connection on which TLS fails is aborted.

        Bytes that are unread when TLS begins came in cleartext, from whoever is on the way. The reader would return
        them as if TLS had protected them.

        Args:
            sslcontext: client context.
            **options: `server_hostname`, and the timeouts of `asyncio.StreamWriter.start_tls`.

        Raises:
            ConnectionAbortedError: the target sent bytes that were not read before.
            OSError: the handshake failed.

        """
        try:
            await self.drain()
            if unread := unread_bytes(self._target_reader):
                raise ConnectionAbortedError(f"the target sent {unread} bytes in cleartext before the TLS handshake")
            await super().start_tls(sslcontext, **options)
        except BaseException:
            self.transport.abort()
            raise


def take_unread(reader: asyncio.StreamReader) -> bytes:
    """Remove and return the bytes that have arrived and were not read. asyncio has no public name for it."""
    buffer = cast("Any", reader)._buffer
    unread = bytes(buffer)
    buffer.clear()
    return unread


def unread_bytes(reader: asyncio.StreamReader) -> int:
    """Return the number of bytes that have arrived and were not read. asyncio has no public name for it."""
    return len(cast("Any", reader)._buffer)
