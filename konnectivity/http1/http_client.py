"""Client of one HTTP/1.1 request over an open connection, with a streamed response: `konnectivity curl` and `doctor`.

Owns URLs, headers and the times of the response. Does not know tunnels, nor TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from konnectivity import __version__
from konnectivity.http1.http_exchange import Header, HttpExchange, ResponseHead
from konnectivity.net import hop_timings
from konnectivity.net.hop_timings import HopTimings

USER_AGENT = f"konnectivity-python/{__version__}"
_PORTS = {"http": 80, "https": 443}


class Url(NamedTuple):
    """Parts of a URL."""

    scheme: str
    host: str
    port: int
    target: str  # path and query

    @property
    def address(self) -> str:
        """Address to dial, with the port."""
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """Value of the Host header, without the default port of the scheme."""
        return self._bracketed if self.port == _PORTS[self.scheme] else self.address

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class ByteStream(Protocol):
    """Open connection as bytes."""

    async def read(self, size: int = ...) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


class Plain:
    """asyncio's streams as a `ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, size: int = 65536) -> bytes:
        return await self._reader.read(size)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Request, without the headers that are added."""

    url: Url
    method: str = "GET"
    headers: Sequence[Header] = ()
    body: bytes = b""

    def all_headers(self) -> list[Header]:
        """Return all headers of the request: the given ones, and defaults for missing ones."""
        given = {name.lower() for name, _ in self.headers}
        defaults = {"Host": self.url.authority, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            defaults["Content-Length"] = str(len(self.body))
        return [pair for pair in defaults.items() if pair[0].lower() not in given] + list(self.headers)


def parse_url(text: str) -> Url:
    """Return the parts of a URL; without a scheme it is http.

    Raises:
        ValueError: the text is no URL of a host by http or https.

    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _PORTS:
        raise ValueError(f"{text!r}: only http:// and https:// can be fetched")
    if not parts.hostname or any(each <= " " for each in text):
        raise ValueError(f"{text!r} is no URL; write http://HOST:PORT/PATH")
    if parts.username is not None:
        raise ValueError("credentials in the URL are not supported; pass -H 'Authorization: ...'")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"{text!r}: the port must be a number between 1 and 65535") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, parts.hostname, port, target)


def parse_header(text: str) -> Header:
    """Return name and value of a header `Name: value`.

    Raises:
        ValueError: the text has another form.

    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"{text!r} is no header; write 'Name: value'")
    return name.strip(), value.strip()


async def fetch(
    stream: ByteStream,
    request: FetchRequest,
    taken: HopTimings,
    on_head: Callable[[ResponseHead], object],
    on_data: Callable[[bytes], object],
) -> None:
    """Send the request and read the response to its end.

    Args:
        stream: open connection.
        request: the request.
        taken: receives the times of first byte and transfer.
        on_head: called with the head of the response.
        on_data: called with each part of the body.

    Raises:
        FetchError: the peer does not speak HTTP, or its response is incomplete.
        OSError: the connection broke.

    """
    exchange = HttpExchange(request.method, request.url.target, request.all_headers(), request.body)
    await stream.write(exchange.request)
    while not exchange.complete:
        data = await stream.read()
        if data and hop_timings.FIRST_BYTE not in taken.seconds:
            taken.done(hop_timings.FIRST_BYTE)
        for event in exchange.receive(data):
            if isinstance(event, ResponseHead):
                on_head(event)
            else:
                on_data(event)
    taken.done(hop_timings.TRANSFER)
