"""HTTP/1.1 connection of a client: one exchange at a time, several in a row. h11 reads and judges what arrives.

Owns its pair of streams. Knows neither addresses nor TLS nor what is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import h11

MAX_HEAD = 64 * 1024
CLOSE_TIMEOUT_S = 1.0  # seconds for the end of TLS from the other side
_CHUNK = 64 * 1024

Header = tuple[str, str]


class Head(NamedTuple):
    """Head of an answer."""

    status: int
    reason: str
    headers: dict[str, str]  # names in lower case


class HttpConnection:
    """Connection to one HTTP server.

    Args:
        reader, writer: streams of an established connection.

    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    @property
    def reusable(self) -> bool:
        """Return whether the last exchange is complete and both sides keep the connection."""
        states = (self._http.our_state, self._http.their_state)
        finished = states in ((h11.DONE, h11.DONE), (h11.IDLE, h11.IDLE))
        return finished and not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, method: str, target: str, headers: Sequence[Header], body: bytes = b"") -> Head:
        """Send a request and return the head of the answer; its body is read by `receive`.

        Raises:
            OSError: the connection broke, or ended before the answer.
            h11.ProtocolError: the answer is no HTTP, or the request cannot be written as HTTP.

        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        events: list[h11.Event] = [h11.Request(method=method, target=target, headers=list(headers))]
        events += [h11.Data(data=body)] if body else []
        events.append(h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()
        while not isinstance(event := await self._next_event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("no head of an answer")
        headers_of = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Head(event.status_code, bytes(event.reason).decode("latin-1"), headers_of)

    async def receive(self) -> bytes:
        """Return the next piece of the body of the answer; empty at its end. Same errors as `exchange`."""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def start_tunnel(self, context: ssl.SSLContext | None, server_name: str) -> None:
        """Begin a new connection inside this one, after a CONNECT that succeeded: with TLS if there is a context.

        Raises:
            OSError: the connection broke, or the certificate is not trusted.

        """
        if self._http.trailing_data[0]:
            raise ConnectionResetError("data from the proxy before the tunnel is in use")
        if context is not None:
            await self._writer.start_tls(context, server_hostname=server_name)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    def close(self) -> None:
        """Begin to close the connection."""
        self._writer.close()

    def abort(self) -> None:
        """Close the connection at once: an exchange was given up half way."""
        self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Return when the connection is closed, at most after `CLOSE_TIMEOUT_S`."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                with suppress(OSError):
                    await self._writer.wait_closed()
        except TimeoutError:
            self.abort()

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(_CHUNK)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("closed before an answer")
            self._http.receive_data(data)
        return event  # type: ignore[return-value]  # not NEED_DATA, which ends the loop
