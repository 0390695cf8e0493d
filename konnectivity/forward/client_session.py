"""Connection of one client of `konnectivity forward`, from the first byte to the end.

Tells SOCKS5 and HTTP apart by the first byte, answers the handshake or the head, dials, and passes bytes on. Owns the
client's socket and, during a request in absolute form, the connection to its destination, which later requests of the
client to the same destination use again. Does not know through which server a destination is dialled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from konnectivity.client.byte_pump import CHUNK, BytePump, Streams, reset
from konnectivity.errors import DialError
from konnectivity.forward import failure_answers, socks5
from konnectivity.forward.proxy_credentials import ProxyCredentials
from konnectivity.runtime import logs

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

LINGER_S = 1.0  # seconds for a client that still sends to read the last answer

Dial = Callable[[str], Awaitable[Streams]]


@dataclass(slots=True)
class SessionSettings:
    """Settings and counters that all clients share.

    Attributes:
        tasks: owns the tasks of clients.
        dial: connects to "host:port".
        credentials: users and passwords; None: no client needs one.
        head_s: maximum seconds for a handshake, or for the head of a first request.
        idle_s: maximum seconds between two requests, and without a byte of a body.
        head_bytes: maximum bytes of a head.
        reached: number of times each limit was reached, by name.
        dials: number of dials by protocol and outcome.
        idle: clients that have sent no byte of a next request.
        draining: whether a client that becomes idle is closed.

    """

    tasks: asyncio.TaskGroup
    dial: Dial
    credentials: ProxyCredentials | None
    head_s: float
    idle_s: float
    head_bytes: int
    reached: Counter[str] = field(default_factory=Counter)
    dials: Counter[tuple[str, str]] = field(default_factory=Counter)
    idle: set[asyncio.StreamWriter] = field(default_factory=set)
    draining: bool = False

    @contextmanager
    def idling(self, client: asyncio.StreamWriter) -> Iterator[None]:
        """Count a client as idle during the block."""
        self.idle.add(client)
        try:
            yield
        finally:
            self.idle.discard(client)

    def drain(self) -> None:
        """Close the clients that are idle now, and others when they become idle."""
        self.draining = True
        for client in self.idle:
            client.close()

    async def dial_for(self, protocol: str, destination: str) -> Streams:
        """Dial for a client of `protocol`, and count the outcome.

        Raises:
            DialError: the dial failed.

        """
        try:
            streams = await self.dial(destination)
        except DialError as error:
            self.dials[protocol, error.failure.value] += 1
            peer_log.info(destination, "Dial failed", destination=destination, protocol=protocol, reason=str(error))
            raise
        self.dials[protocol, "ok"] += 1
        if log.v(4):
            log.info("Connected", destination=destination, protocol=protocol)
        return streams


class ClientSession:
    """Connection of one client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: SessionSettings) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings

    async def run(self) -> None:
        """Serve the client to the end of its connection."""
        try:
            await self._serve()
        except (OSError, RuntimeError):  # the client is gone; uvloop raises the latter for a closed transport
            self._writer.transport.abort()
        finally:
            self._writer.close()

    async def _serve(self) -> None:
        try:
            with self._settings.idling(self._writer):
                async with asyncio.timeout(self._settings.head_s):
                    first = await self._reader.read(CHUNK)
        except TimeoutError:
            self._settings.reached["forward_head_time"] += 1
            return
        if not first:
            return
        if first[0] == socks5.VERSION:
            await self._serve_socks(first)
        else:
            from konnectivity.forward.http_session import HttpSession  # loaded for HTTP only: h11 takes memory

            await HttpSession(self._reader, self._writer, self._settings).serve(first)

    async def _serve_socks(self, first: bytes) -> None:
        credentials = self._settings.credentials
        handshake = socks5.SocksHandshake(None if credentials is None else credentials.accepts)
        try:
            async with asyncio.timeout(self._settings.head_s):
                await self._shake_hands(handshake, first)
        except socks5.SocksError as error:
            peer_log.info("", "SOCKS5 client refused", reason=str(error))
            await end_gently(self._reader, self._writer, error.answer)
            return
        except TimeoutError:
            self._settings.reached["forward_head_time"] += 1
            return
        if not handshake.destination:
            return
        try:
            target = await self._settings.dial_for("socks5", handshake.destination)
        except DialError as error:
            await end_gently(self._reader, self._writer, socks5.reply(failure_answers.socks_code_of(error)))
            return
        self._writer.write(socks5.reply(socks5.SUCCEEDED))
        await join(self._settings.tasks, (self._reader, self._writer), target, handshake.rest())

    async def _shake_hands(self, handshake: socks5.SocksHandshake, data: bytes) -> None:
        while data:
            self._writer.write(handshake.receive(data))
            if handshake.destination:
                return
            data = await self._reader.read(CHUNK)


async def join(tasks: asyncio.TaskGroup, client: Streams, target: Streams, early: bytes) -> None:
    """Pass bytes on between a client and its destination; `early` are bytes of the client that were read before."""
    if early:
        target[1].write(early)
    await BytePump(tasks, client, target).run()


async def end_gently(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send a last answer and close; read on for a moment, so that a reset does not destroy the answer."""
    with suppress(OSError, RuntimeError, TimeoutError):
        if answer:
            writer.write(answer)
        async with asyncio.timeout(LINGER_S):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(CHUNK):
                pass
    writer.close()


__all__ = ["ClientSession", "SessionSettings", "end_gently", "join", "reset"]
