"""TLS of a client over any pair of asyncio streams, such as a tunnel that has TLS itself. Owns no connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 64 * 1024
_TRUNCATED = "UNEXPECTED_EOF_WHILE_READING"


class InnerTls:
    """TLS session of a client: plain bytes for its user, TLS on the streams.

    Args:
        reader: of the connection below.
        writer: of the connection below.
        context: of a client.
        server_name: name that the certificate must have.

    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, server_name: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._in, self._out, server_hostname=server_name)

    async def handshake(self) -> None:
        """Exchange keys and certificates.

        Raises:
            ssl.SSLError: the other side does not speak TLS, or its certificate is not accepted.
            OSError: the connection broke.

        """
        await self._until_done(self.session.do_handshake)

    async def read(self, size: int = _CHUNK) -> bytes:
        """Return up to `size` bytes; empty at the end that the other side announced.

        Raises:
            ssl.SSLEOFError: the connection ended without the end of TLS: data may be missing.
            OSError: the connection broke.

        """
        try:
            return await self._until_done(lambda: self.session.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send bytes. Errors: those of `read`."""
        await self._until_done(lambda: self.session.write(data))

    async def _until_done(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._reader.read(_CHUNK)
                if data:
                    self._in.write(data)
                else:
                    self._in.write_eof()
            except ssl.SSLError as error:
                await self._flush()  # the alert that says why
                if error.reason == _TRUNCATED and not isinstance(error, ssl.SSLEOFError):
                    raise ssl.SSLEOFError(*error.args) from error  # as Python says it from 3.11.4
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._out.read():
            self._writer.write(data)
            await self._writer.drain()
