"""The HTTP CONNECT frontend: one request head, one dial, then a relay. What is said on the wire: `connect_head`."""

from __future__ import annotations

import asyncio
from typing import cast

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.peer import peer_of
from konnectivity.http1.message_heads import HeadError, Heads
from konnectivity.runtime import logs
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.relay import Relay, hung_up
from konnectivity_server.dispatcher import Dispatcher, Route
from konnectivity_server.frontends.connect_messages import ESTABLISHED, BadRequest, answer_to, destination, refusal
from konnectivity_server.peer_limits import ConnectLimits

log = logs.get(__name__)

MAX_EARLY = 64 * 1024  # bytes a client may send behind its CONNECT before it has an answer


class ConnectProtocol(asyncio.Protocol):
    """A client from its first byte to the answer; then its socket belongs to a `Relay`."""

    def __init__(self, dispatcher: Dispatcher, first: bytes = b"", limits: ConnectLimits | None = None) -> None:
        self._limits = limits or ConnectLimits()
        self._refusals = 0
        self._dispatcher = dispatcher
        self._heads = Heads(self._limits.head_bytes, first)
        self._early = bytearray()
        self._transport: asyncio.Transport | None = None
        self._dial: Route | None = None
        self._answered = False
        self._served = False  # counted, until a relay counts it
        self._eof_received = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._limits.head_timeout_s, self._head_late)
        self._head_received()  # what a doorman has read

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        if self._dial is not None:
            self._early += data
            if len(self._early) >= MAX_EARLY and self._transport is not None:
                self._transport.pause_reading()
            return
        self._heads.feed(data)
        self._head_received()

    def eof_received(self) -> bool:
        # A client on a unix socket may have ended only its side, and wait for the answer; any other is gone.
        transport = self._transport
        if self._dial is not None and transport is not None and not hung_up(transport):
            self._eof_received = True
            return True
        self._cancel()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._cancel()
        self._leave()

    # ---- Caller ---------------------------------------------------------------------------------------------------

    def dial_succeeded(self, link: Connection) -> None:
        self._dial = None
        transport = self._transport
        if transport is None:
            self._dispatcher.abandoned(link)
            return
        self._answered = True
        transport.write(ESTABLISHED)  # before the link can deliver anything
        relay = _ClientRelay(self._dispatcher)
        self._served = False
        self._transport = None  # the relay's from now on
        link.endpoint = relay
        relay.adopt(transport)
        relay.attach(link, bytes(self._early), self._eof_received)

    def dial_failed(self, error: DialError) -> None:
        self._dial = None
        self._end(answer_to(error))

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _head_received(self) -> None:
        try:
            while (head := self._heads.take()) is not None:
                try:
                    self._start_dial(destination(head))
                    return
                except BadRequest as bad:
                    if not bad.keep or self._too_many_refusals():
                        raise
                    if self._transport is not None:
                        self._transport.write(bad.answer)
        except HeadError as error:
            self._refuse(refusal(error))
        except BadRequest as bad:
            self._refuse(bad)

    def _refuse(self, bad: BadRequest) -> None:
        """Answer a request that is none, and close."""
        if bad.limit:
            self._limits.reached[bad.limit] += 1
        self._end(bad.answer)

    def _too_many_refusals(self) -> bool:
        """Whoever asks on and on for what there is not, and does not read the answers, would fill our memory."""
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
        self._early += self._heads.rest()
        origin = peer_of(self._transport) if self._transport is not None else Peer("")
        if log.v(4):
            log.info("Dialing", destination=address, **{"from": origin.name})
        self._served = True
        self._dispatcher.http_connections += 1
        try:
            self._dial = self._dispatcher.dial(address, self, origin)
        except DialError as error:
            self._end(answer_to(error))

    def _leave(self) -> None:
        if self._served:
            self._served = False
            self._dispatcher.http_connections -= 1

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _end(self, answer: bytes) -> None:
        """Answer and close; read on for a moment, so that the answer is not lost to a reset."""
        transport = self._transport
        if transport is None:
            return
        self._answered = True
        self._cancel()
        self._leave()
        if answer:
            transport.write(answer)
        self._transport = None
        relay = Relay()
        relay.adopt(transport)
        relay.close()


class _ClientRelay(Relay):
    """The relay of a CONNECT client, counted for as long as its socket lives."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._dispatcher.http_connections -= 1
