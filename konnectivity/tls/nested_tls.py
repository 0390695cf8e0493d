"""TLS as a client over any pair of asyncio streams: through a tunnel, which may be TLS itself. Owns no connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 64 * 1024
_TRUNCATED = "UNEXPECTED_EOF_WHILE_READING"


class InnerTls:
    """Bytes in the clear on this side, TLS on the other.

    Args:
        reader, writer: the connection that carries it.
        context: a client's.
        server_name: that the certificate has to name.

    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, server_name: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._in, self._out, server_hostname=server_name)

    async def handshake(self) -> None:
        """Raises:
        ssl.SSLError: there is no TLS, or the certificate is not accepted.
        OSError: the connection broke.

        """
        await self._until_done(self.session.do_handshake)

    async def read(self, size: int = _CHUNK) -> bytes:
        """Some bytes; none at the end, which the other side has announced.

        Raises:
            ssl.SSLEOFError: the end came without announcement: something may be missing.
            OSError: the connection broke.

        """
        try:
            return await self._until_done(lambda: self.session.read(size))
        except ssl.SSLZeroReturnError:
            return b""

    async def write(self, data: bytes) -> None:
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
