"""Connection of one client of a forward proxy, from the first byte to the end.

Tells SOCKS5 and HTTP apart by the first byte, answers the handshake or the head, dials, and passes bytes on. Owns the
client's socket and, during a request in absolute form, the connection to its destination, which later requests of the
client to the same destination use again. Does not know how a destination is dialled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from konnectivity.client.byte_pump import CHUNK, Streams
from konnectivity.errors import DialError
from konnectivity.forward import failure_answers, socks5
from konnectivity.forward.password_guesses import TooManyGuesses
from konnectivity.forward.proxy_credentials import ProxyCredentials
from konnectivity.net.source_address import source_of_host
from konnectivity.runtime import logs

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

LINGER_S = 1.0  # seconds for a client that still sends to read the last answer
GUESSES = "forward_password_guesses"  # name of the limit

T = TypeVar("T")


@dataclass(slots=True)
class ProxyClient:
    """Client of a forward proxy.

    Attributes:
        reader, writer: of its connection.
        user: whose password it gave; empty: no password is asked for.

    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    user: str = ""

    @property
    def source(self) -> str:
        """Return the source that wrong passwords count for: its address, or the name of the unix socket's kind."""
        found = self.writer.get_extra_info("peername")
        return source_of_host(found[0]) if isinstance(found, tuple) else "unix"


class ClientDialer(Protocol):
    """Way from clients to their destinations."""

    async def connect(self, destination: str, client: ProxyClient) -> Streams:
        """Connect to "host:port" for requests of a client, and return the reader and the writer.

        Raises:
            DialError: the dial failed.

        """

    async def join(self, destination: str, client: ProxyClient, accepted: bytes, early: bytes) -> Awaitable[None]:
        """Connect a client to "host:port", and return when it is; what is returned ends when the connection has ended.

        Args:
            destination: "host:port".
            client: the client, whose bytes are passed on from now on.
            accepted: bytes that tell the client that it is connected.
            early: bytes of the client that were read before.

        Raises:
            DialError: the dial failed.

        """


@dataclass(slots=True)
class SessionSettings:
    """Settings and counters that all clients share.

    Attributes:
        tasks: owns the tasks of clients.
        dialer: connects clients to their destinations.
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
    dialer: ClientDialer
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

    def too_many_guesses(self, client: ProxyClient) -> None:
        """Count and log a password that is not looked at, since there were too many wrong ones."""
        self.reached[GUESSES] += 1
        reason = "too many wrong passwords"
        peer_log.warning(client.source, "Client of the forward proxy refused", source=client.source, reason=reason)

    async def counted(self, protocol: str, destination: str, dial: Awaitable[T]) -> T:
        """Await a dial for a client of `protocol`, and count its outcome.

        Raises:
            DialError: the dial failed.

        """
        try:
            made = await dial
        except DialError as error:
            self.dials[protocol, error.failure.value] += 1
            peer_log.info(destination, "Dial failed", destination=destination, protocol=protocol, reason=str(error))
            raise
        self.dials[protocol, "ok"] += 1
        if log.v(4):
            log.info("Connected", destination=destination, protocol=protocol)
        return made


class ClientSession:
    """Connection of one client."""

    def __init__(self, client: ProxyClient, settings: SessionSettings) -> None:
        self._client = client
        self._reader = client.reader
        self._writer = client.writer
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

            await HttpSession(self._client, self._settings).serve(first)

    async def _serve_socks(self, first: bytes) -> None:
        handshake = socks5.SocksHandshake(None if self._settings.credentials is None else self._accepts)
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
        self._client.user = handshake.user
        destination, accepted = handshake.destination, socks5.reply(socks5.SUCCEEDED)
        try:
            dial = self._settings.dialer.join(destination, self._client, accepted, handshake.rest())
            ended = await self._settings.counted("socks5", destination, dial)
        except DialError as error:
            await end_gently(self._reader, self._writer, socks5.reply(failure_answers.socks_code_of(error)))
            return
        await ended

    def _accepts(self, user: bytes, password: bytes) -> bool:
        """Return whether a user and a password are valid, and may be tried."""
        assert self._settings.credentials is not None
        try:
            return self._settings.credentials.accepts(user, password, self._client.source)
        except TooManyGuesses:
            self._settings.too_many_guesses(self._client)
            return False

    async def _shake_hands(self, handshake: socks5.SocksHandshake, data: bytes) -> None:
        while data:
            self._writer.write(handshake.receive(data))
            if handshake.destination:
                return
            data = await self._reader.read(CHUNK)


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
