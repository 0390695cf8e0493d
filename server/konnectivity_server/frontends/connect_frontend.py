"""HTTP CONNECT frontend of a server: one request head, one dial, then a relay.

Owns a client's socket until the answer, and the number of clients that are served. The bytes of requests and answers
are in `connect_messages`. Does not know how a backend is chosen.
"""

from __future__ import annotations

import asyncio
from typing import cast

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.peer import peer_of, with_token
from konnectivity.http1.message_heads import HeadError, Heads
from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.runtime import logs
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.relay import Relay, hung_up
from konnectivity_server.frontends.connect_messages import (
    ESTABLISHED,
    BadRequest,
    answer_to,
    destination,
    plain_destination,
    refusal,
    shown_token,
    trace_parent_text,
)
from konnectivity_server.peer_limits import ConnectLimits
from konnectivity_server.pending_dial import PendingDial, StartDial

log = logs.get(__name__)

MAX_EARLY = 64 * 1024  # bytes a client may send behind its CONNECT before it has an answer


class ConnectFrontend:
    """HTTP CONNECT frontend: makes the protocol of each client, and counts the clients that are served.

    Args:
        start_dial: starts the dial of a client.
        limits: limits of each client.

    Attributes:
        clients: number of clients that are served.
        closing: sockets of clients that were told to close, and may have unwritten bytes.

    """

    def __init__(self, start_dial: StartDial, limits: ConnectLimits | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.start_dial = start_dial
        self.limits = limits or ConnectLimits()
        self.clients = 0
        self.closing = ClosingSockets()

    def protocol(self, first: bytes = b"") -> ConnectProtocol:
        """Return the protocol of a new client, of whom the bytes `first` were read before."""
        return ConnectProtocol(self, first)

    def client_served(self) -> None:
        """Count a client whose dial begins."""
        self.clients += 1

    def client_left(self) -> None:
        """Stop counting a client that was served."""
        self.clients -= 1


class ConnectProtocol(asyncio.Protocol):
    """Protocol of one CONNECT client, from its first byte to the answer; then a relay owns the socket."""

    traceparent = ""  # of the CONNECT, not checked; a head of the usual form has none

    def __init__(self, frontend: ConnectFrontend, first: bytes) -> None:
        self._frontend = frontend
        self._limits = frontend.limits
        self._loop = frontend.loop
        self._first = first
        self._heads: Heads | None = None  # reader of heads that do not have the usual form
        self._refusals = 0
        self._early = bytearray()  # bytes behind the CONNECT
        self._token = b""  # that the client showed; a head of the usual form has none
        self._transport: asyncio.Transport | None = None
        self._dial: PendingDial | None = None
        self._answered = False
        self._served = False  # counted by the frontend
        self._eof_received = False
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a CONNECT, which may be among the bytes that were read before."""
        self._transport = cast("asyncio.Transport", transport)
        if self._first:
            self._received(self._first)
        if self._dial is None and not self._answered:
            self._timer = self._loop.call_later(self._limits.head_timeout_s, self._head_late)

    def data_received(self, data: bytes) -> None:
        """Read a request head, or keep bytes that follow it until there is an answer."""
        if self._answered:
            return
        if self._dial is not None:
            self._early += data
            if len(self._early) >= MAX_EARLY and self._transport is not None:
                self._transport.pause_reading()
            return
        self._received(data)

    def eof_received(self) -> bool:
        """Cancel the dial, unless the client may wait for the answer: on a unix socket it may have ended one side."""
        transport = self._transport
        if self._dial is not None and transport is not None and not hung_up(transport):
            self._eof_received = True
            return True
        self._cancel()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the dial."""
        self._transport = None
        self._cancel()
        self._leave()

    # ---- DialOutcome ----------------------------------------------------------------------------------------------

    def dial_succeeded(self, connection: Connection) -> bool:
        """Answer 200, and hand the socket to a relay."""
        self._dial = None
        transport = self._transport
        if transport is None:
            return False
        self._answered = True
        self._served = False  # the relay leaves for the client
        self._transport = None
        transport.write(ESTABLISHED)  # before the connection can deliver anything
        relay = _ClientRelay(self._loop, self._frontend)
        connection.attach(relay)
        relay.adopt(transport)
        relay.attach(connection, bytes(self._early), self._eof_received)
        return True

    def dial_failed(self, error: DialError) -> None:
        """Answer with the error, and close."""
        self._dial = None
        self._end(answer_to(error))

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        """Start the dial of a CONNECT; refuse other requests."""
        if self._heads is None:
            address = plain_destination(data) if len(data) <= self._limits.head_bytes else None
            if address is not None:
                self._start_dial(address)
                return
            self._heads = Heads(self._limits.head_bytes, data)
        else:
            self._heads.feed(data)
        self._read_heads(self._heads)

    def _read_heads(self, heads: Heads) -> None:
        try:
            while (head := heads.take()) is not None:
                try:
                    address = destination(head)
                except BadRequest as bad:
                    if not bad.keep or self._too_many_refusals():
                        raise
                    if self._transport is not None:
                        self._transport.write(bad.answer)
                else:
                    self._early += heads.rest()
                    self.traceparent = trace_parent_text(head)
                    self._token = shown_token(head)
                    self._start_dial(address)
                    return
        except HeadError as error:
            self._refuse(refusal(error))
        except BadRequest as bad:
            self._refuse(bad)

    def _refuse(self, bad: BadRequest) -> None:
        """Answer a request that is no CONNECT, and close."""
        if bad.limit:
            self._limits.reached[bad.limit] += 1
        self._end(bad.answer)

    def _too_many_refusals(self) -> bool:
        """Count a refused request; return whether the client has had too many.

        A client that sends requests without end and reads no answers would fill the memory with them.
        """
        self._refusals += 1
        if self._refusals < self._limits.refusals:
            return False
        self._limits.reached["connect_refusals"] += 1
        return True

    def _head_late(self) -> None:
        self._limits.reached["connect_head_time"] += 1
        self._end(b"")

    def _start_dial(self, address: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        origin = peer_of(self._transport) if self._transport is not None else Peer("")
        if self._token:
            origin = with_token(origin, self._token)
        if log.v(4):
            log.info("Dialing", destination=address, **{"from": origin.name})
        self._served = True
        self._frontend.client_served()
        try:
            self._dial = self._frontend.start_dial(address, self, origin)
        except DialError as error:
            self._end(answer_to(error))

    def _leave(self) -> None:
        if self._served:
            self._served = False
            self._frontend.client_left()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _end(self, answer: bytes) -> None:
        """Answer and close; read on for a moment, so that a reset does not destroy the answer."""
        transport = self._transport
        if transport is None:
            return
        self._answered = True
        self._cancel()
        self._leave()
        if answer:
            transport.write(answer)
        self._transport = None
        relay = Relay(self._loop, self._frontend.closing)
        relay.adopt(transport)
        relay.close()


class _ClientRelay(Relay):
    """Relay of a CONNECT client, which is counted until its socket is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, frontend: ConnectFrontend) -> None:
        super().__init__(loop, frontend.closing)
        self._frontend = frontend

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection, and stop counting the client."""
        super().connection_lost(exc)
        self._frontend.client_left()
