"""Client tunnel over HTTP CONNECT.

Owns the connection of a dial until the server has accepted it; then the caller owns the connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from konnectivity.client.client_tunnel import ClientTunnel
from konnectivity.client.frontend_address import Streams
from konnectivity.errors import NO_AGENT, DialError, DialFailure
from konnectivity.http1.message_heads import status_line_of
from konnectivity.net import hop_timings
from konnectivity.net.hop_timings import HopTimings
from konnectivity.untrusted.untrusted_text import cut

MAX_ANSWER = 64 * 1024  # bytes of the head of an HTTP answer, and of its text
TEXT_TIMEOUT_S = 1.0  # for the rest of a refusal, behind which a server closes the connection


class ConnectTunnel(ClientTunnel):
    """Client tunnel in the mode "http-connect": one connection to the server for each dial."""

    async def _dial(self, address: str, hops: HopTimings) -> Streams:
        reader, writer = await self._frontend.streams(hops)
        try:
            token = self._frontend.token
            shown = f"Proxy-Authorization: Bearer {token}\r\n" if token else ""
            writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{shown}\r\n".encode())
            status, text = await _answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        hops.done(hop_timings.DIAL)
        if status == 200:
            return reader, writer
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        raise _refusal(status, cut(text))

    async def _close(self) -> None:
        return


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Return the status and, unless the status is 200, the text of the server's answer."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n"))[:MAX_ANSWER]
    except asyncio.IncompleteReadError as error:
        raise DialError(DialFailure.TUNNEL_LOST, "the server closed the connection without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise DialError(DialFailure.PROTOCOL, "the server's answer is no HTTP") from error
    line = status_line_of(head)
    if line is None:
        raise DialError(DialFailure.PROTOCOL, f"the server's answer is no HTTP: {head[:60].decode('latin-1')!r}")
    return line.status, "" if line.status == 200 else await _text(reader)


async def _text(reader: asyncio.StreamReader) -> str:
    """Return the text of a refusal, which may arrive in pieces: all of it until the server closes the connection."""
    text = bytearray()
    with suppress(OSError, TimeoutError):  # a part of the text is better than none
        async with asyncio.timeout(TEXT_TIMEOUT_S):
            while len(text) < MAX_ANSWER and (piece := await reader.read(MAX_ANSWER - len(text))):
                text += piece
    return text.decode("utf-8", "replace").strip()


def _refusal(status: int, text: str) -> DialError:
    """Return the error that a refusal of the server means."""
    if text.endswith(NO_AGENT):
        return DialError(DialFailure.NO_AGENT, NO_AGENT)
    if text.startswith("Backend dial timeout"):
        return DialError(DialFailure.TIMEOUT, text)
    if text.startswith("Backend context error"):
        return DialError(DialFailure.TUNNEL_LOST, text)
    return DialError(DialFailure.ENDPOINT, text or f"HTTP status {status}")
