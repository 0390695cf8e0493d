"""Transport of gRPC on `konnectivity.http2` and asyncio: one socket that speaks HTTP/2, in either role.

A transport owns its socket, its HTTP/2 connection and the table of its calls. A call (`http2_call`) owns its message
stream. What the two roles add is in `http2_client` and `http2_server`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from konnectivity.grpc import status as statuses
from konnectivity.grpc.budgets.call_memory import IncompleteMessages
from konnectivity.grpc.budgets.reading_pause import ReadingPause
from konnectivity.grpc.event_reader import EventReader
from konnectivity.grpc.http2_call import Http2Call
from konnectivity.grpc.http2_writer import HIGH_WATER, UNREAD, Http2Writer
from konnectivity.grpc.keepalive import Keepalive
from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.peer import peer_of
from konnectivity.grpc.round_trip import RoundTrip
from konnectivity.grpc.status import Code, Status
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import Http2Connection, Settings, events
from konnectivity.net.error_texts import words_of
from konnectivity.net.tcp_keepalive import keep_alive
from konnectivity.tls import handshake_failures as tls_failures

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 1.0  # seconds for queued output and the end of TLS, which some peers (gRPC's C core) never answer
USER_TIMEOUT_MS = 20_000  # for the acknowledgement of sent bytes, after which the kernel gives the connection up
_CLOSED = "the connection was closed by the peer"
_PING_PAYLOAD = struct.Struct(">Q")


class Http2Transport(asyncio.BufferedProtocol, ABC):
    """Socket that speaks HTTP/2. Nothing but the options exists before the event loop connects it.

    Attributes:
        closed: whether the connection is gone.
        goaway: reason for which the connection ends or takes no new calls; None: it takes calls.
        alpn: protocol that the TLS handshake agreed on; None in cleartext, or without ALPN.

    Args:
        client: role of this side.
        options: settings of this side.

    """

    loop: asyncio.AbstractEventLoop
    writer: Http2Writer
    reader: EventReader

    def __init__(self, client: bool, options: TransportOptions) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.peer = Peer("")
        self.round_trip = RoundTrip()
        self.incomplete = IncompleteMessages(
            options.incomplete_bytes,
            options.message_memory,
            options.message_timeout_s,
            self.loop.call_later,
            options.reached,
        )
        self.alpn: str | None = None
        self.goaway: str | None = None
        self.closed = False
        self._client = client
        self._calls: dict[int, Http2Call] = {}
        self._leaving = False  # the connection ends because this side closes it
        self._transport: asyncio.Transport | None = None
        self._pause: ReadingPause | None = None  # pause of a peer that is slowed down instead of disconnected
        self._keepalive: Keepalive | None = None
        self._closing: asyncio.TimerHandle | None = None

    # ---- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak HTTP/2: the socket is connected, and its TLS handshake done."""
        self._transport = made = cast("asyncio.Transport", transport)
        self.peer = peer_of(made)
        ssl_object = made.get_extra_info("ssl_object")
        self.alpn = ssl_object.selected_alpn_protocol() if ssl_object is not None else None
        sock = made.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            keep_alive(sock, sock.family)
        options = self.options
        if options.limits.slow_down:
            # Above this number of bytes the transport reports that the peer has read them.
            most_unread = max(options.unsent_bytes, HIGH_WATER)
            self._pause = ReadingPause(
                made, most_unread, options.unread_timeout_s, options.reached, lambda: self.abort(UNREAD), self.loop
            )
        self.writer = Http2Writer(self._http2(), made, self._pause, options, self.loop, self)
        self.reader = EventReader(self.writer, made, self._pause, self._calls, options, self.loop, self)
        self._connected()
        if self.writer.http2.output:  # a client's preface
            self.writer.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory that the event loop reads into."""
        return self.reader.next_read

    def buffer_updated(self, nbytes: int) -> None:
        """Handle bytes that the event loop has read."""
        reader = self.reader
        reader.bytes_received(bytes(reader.memory[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Handle bytes that were read before this protocol got its transport."""
        self.reader.bytes_received(data)

    def eof_received(self) -> bool:
        """Close the connection: an HTTP/2 peer that ends its side is gone."""
        return False

    def pause_writing(self) -> None:
        """Keep calls waiting: the event loop's buffer is full."""
        self.writer.pause()

    def resume_writing(self) -> None:
        """Let calls send again."""
        self.writer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all calls: the socket is closed."""
        if self.closed:
            return
        self.closed = True
        self.writer.close()
        self.reader.close()
        if self._closing is not None:
            self._closing.cancel()
        if self._keepalive is not None:
            self._keepalive.stop()
        if self._pause is not None:
            self._pause.close()
        # References to what refers to this transport, and to its TLS, which is large: no cycle is left.
        self._keepalive = self._pause = self._transport = None
        self._end_calls(self.goaway or tls_failures.of_peer(exc) or (words_of(exc) if exc else _CLOSED))
        self._disconnected()

    # ---- used by the owner of the connection ----------------------------------------------------------------------

    @property
    def heard_at(self) -> float:
        """Time of the last bytes from the peer, on the monotonic clock."""
        return self.reader.heard_at

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the socket, or for window of the peer."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size() + self.writer.http2.queued

    def ping(self, done: Callable[[float], object] | None = None) -> None:
        """Measure the round trip; `round_trip` has it when the answer is here, and `done` is called with it."""
        if self.round_trip.ask(self.options.clock(), self._moved, done):
            self.writer.ping(_PING_PAYLOAD.pack(int(self.options.clock() * 1e6)))

    def go_away(self, reason: str = "") -> None:
        """Take no new calls, and let the open ones continue."""
        self.writer.go_away(reason)

    def close(self, reason: str = "") -> None:
        """End the open calls with UNAVAILABLE, send GOAWAY and what is queued, then close the socket.

        The calls end at once: a program that closes its connections and ends does not see the sockets closed.
        """
        if self._transport is not None and not self._leaving:
            self._leaving = True
            self.goaway = self.goaway or reason
            self.writer.go_away(reason)
            self._hang_up(self._transport)
            self._end_calls(self.goaway)

    def abort(self, reason: str = "") -> None:
        """Drop the socket now."""
        self.goaway = self.goaway or reason
        if self._transport is not None:
            self._transport.abort()

    # ---- called by calls, the writer and the reader ----------------------------------------------------------------

    def call_ended(self, stream_id: int, call: Http2Call) -> None:
        """Forget a call that has ended."""
        self._calls.pop(stream_id, None)
        self.writer.forget(stream_id)

    def output_refused(self, stream_id: int) -> None:
        """End the call of a stream whose output the peer does not take."""
        call = self._calls.get(stream_id)
        if call is not None:
            call.ended(Status(Code.RESOURCE_EXHAUSTED, UNREAD))

    def event_received(self, event: events.Event) -> None:
        """Handle an event other than data."""
        match event:
            case events.HeadersReceived():
                self._headers_received(event)
            case events.StreamEnded():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.ended(statuses.from_reset(event.code, event.message))
            case events.StreamDrained():
                self.writer.stream_drained(event.stream_id)
            case events.SettingsChanged():
                self._settings_received()
            case events.PingAcknowledged():
                self.round_trip.answer(self.options.clock(), self._moved)
            case events.GoAwayReceived():
                self.goaway = f"the peer is going away: {event.debug}" if event.debug else "the peer is going away"
            case events.ConnectionFailed():
                self.goaway = self.goaway or event.message
                log.debug("HTTP/2 connection with %s failed: %s", self.peer.address, event.message)
                if self._transport is not None:
                    self._hang_up(self._transport)

    # ---- what a role adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def _connected(self) -> None:
        """Begin what the role does from the first moment of the connection."""

    @abstractmethod
    def _disconnected(self) -> None:
        """End what the role does; every call has ended."""

    @abstractmethod
    def _headers_received(self, event: events.HeadersReceived) -> None:
        """Handle a header block."""

    def _settings_received(self) -> None:
        """Handle the peer's SETTINGS."""

    def _keep_alive(self) -> None:
        """Begin to send keepalive pings."""
        if self._keepalive is None:
            options = self.options
            self._keepalive = Keepalive(self, self.loop, options.keepalive_time_s, options.keepalive_timeout_s)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _http2(self) -> Http2Connection:
        options = self.options
        settings = Settings(
            enable_push=0 if self._client else 1,
            max_concurrent_streams=options.max_streams,
            initial_window_size=options.stream_window,
            max_frame_size=options.max_frame_size,
            max_header_list_size=options.limits.header_list_bytes,
        )
        return Http2Connection(
            self._client,
            settings,
            limits=options.limits,
            clock=self.loop.time,
            reached=options.reached,
            grown_window=options.grown_window,
        )

    @property
    def _moved(self) -> int:
        """Number of bytes read and written so far."""
        return self.reader.received + self.writer.written

    def _end_calls(self, reason: str) -> None:
        # gRPC for Go reports the loss as UNAVAILABLE to a client and as CANCELLED to a server.
        code = Code.UNAVAILABLE if self._client or self._leaving else Code.CANCELLED
        for call in list(self._calls.values()):
            call.ended(Status(code, reason))

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """Close the socket behind what is queued, and in any case soon."""
        self.writer.flush()
        transport.close()
        if self._closing is None:
            self._closing = self.loop.call_later(CLOSE_TIMEOUT_S, transport.abort)
