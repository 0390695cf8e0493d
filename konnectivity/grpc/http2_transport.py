"""The stream seam on `konnectivity.http2` and asyncio Protocols: our own gRPC transport, both roles.

One `Http2Transport` owns one socket and its HTTP/2 connection. Everything its streams send in one pass of the event
loop goes out in one write: one TLS record run, one system call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import cast

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc import status as statuses
from konnectivity.grpc.framing import MAX_MESSAGE_SIZE
from konnectivity.grpc.header_budget import HeaderBudget
from konnectivity.grpc.http2_call import HIGH_WATER, Http2Call
from konnectivity.grpc.message_memory import MessageMemory
from konnectivity.grpc.message_stream import Peer, Service, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.peer import peer_of
from konnectivity.grpc.read_scheduler import HEAVY_S, LONG_S, ReadScheduler
from konnectivity.grpc.reading_pause import ReadingPause
from konnectivity.grpc.round_trip import RoundTrip
from konnectivity.grpc.send_budget import SendBudget
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.http2 import ErrorCode, Http2Connection, Limits, Settings, events
from konnectivity.net import read_buffer
from konnectivity.net.error_texts import words_of
from konnectivity.tls import handshake_failures as tls_failures
from konnectivity.untrusted.untrusted_text import cut

log = logging.getLogger(__name__)

LOW_WATER = 32 * 1024
READ_AT_FIRST = 16 * 1024  # bytes at once, from a connection that did not fill a read yet, or whose reads take long
CLOSE_TIMEOUT_S = 1.0  # for what is queued and for the TLS goodbye; some peers (gRPC's C core) never answer that one
USER_TIMEOUT_MS = 20_000  # sent and not acknowledged for so long: the kernel gives the connection up
_CLOSED = "the connection was closed by the peer"
_UNREAD = "the peer does not read what it is sent"
_PING_PAYLOAD = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What one end of a gRPC connection is set up with. Sizes in bytes, times in seconds."""

    stream_window: int = 256 * 1024
    grown_window: int = 0  # of a stream whose first window was consumed; 0: as at first
    max_frame_size: int = 128 * 1024
    max_streams: int = 65_536
    max_message_size: int = MAX_MESSAGE_SIZE
    keepalive_time_s: float = 3600.0
    keepalive_timeout_s: float = 20.0
    handshake_timeout_s: float = 10.0  # server: a connection that sends no preface and SETTINGS in time is closed
    idle_timeout_s: float = 0.0  # server: a connection without a call for so long is closed; 0: never
    # May wait for a peer that does not read, before its connection is cut; with `message_memory`, on each stream.
    unsent_bytes: int = 8 * 1024 * 1024
    incomplete_bytes: int = 8 * 1024 * 1024  # of messages that are not whole yet, on all streams of a connection
    # For connections that many users share: their incomplete messages wait for memory, no stream ends for them.
    message_memory: MessageMemory[Http2Call] | None = None
    message_timeout_s: float = 30.0  # for a message to become whole while others wait for its memory
    unread_timeout_s: float = 20.0  # a peer that is not read because it does not read, either
    unsent: SendBudget[Http2Transport] | None = None  # what waits on all connections of a server
    metadata_names: frozenset[str] | None = None  # header fields that services read, in lower case; None: all are kept
    header_bytes: int = 256 * 1024  # of the fields kept for the calls of a connection
    header_budget: HeaderBudget | None = None  # the same for all connections of a server
    turns: ReadScheduler = field(default_factory=ReadScheduler)  # shared by the connections of a server
    limits: Limits = field(default_factory=Limits)
    reached: Counter[str] = field(default_factory=Counter)  # how often which limit was, by name


class Http2Transport(asyncio.BufferedProtocol):
    """One socket that speaks HTTP/2, in either role.

    Args:
        options: sizes and times.
        services: server role: path -> what to do with a call. None: client role.
        on_closed: called once, when the connection is gone.
        on_made: called once, when the connection is there, TLS included. A transport whose TLS handshake fails is never
            told so by the event loop: whoever keeps transports learns of them here.

    """

    def __init__(
        self,
        options: TransportOptions,
        services: Mapping[str, Service] | None = None,
        on_closed: Callable[[Http2Transport], None] | None = None,
        on_made: Callable[[Http2Transport], None] | None = None,
    ) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.services = services
        self.on_closed = on_closed
        self.on_made = on_made
        self.streams: dict[int, Http2Call] = {}
        self.paused: dict[int, Http2Call] = {}  # told to let data wait, by the number of their stream
        self.blocked = False
        self.unflushed = 0
        self.incomplete = 0  # bytes of messages that are not whole
        self.header_bytes = 0  # of the calls that are open, as `Metadata.size` counts them
        self.flush_scheduled = False
        self.peer = Peer("")
        self.round_trip = RoundTrip()
        self.alpn: str | None = None  # the protocol that the TLS handshake agreed on
        self.authority = ""  # client: whom the calls are for, if they do not say
        self.goaway: str | None = None
        self._leaving = False  # the connection ends because this side closes it
        self.closed = False
        self.unfinished: Http2Call | None = None  # has messages of the last read that it could not deliver yet
        self.http2 = Http2Connection(
            services is None,
            Settings(
                enable_push=0 if services is None else 1,
                max_concurrent_streams=options.max_streams,
                initial_window_size=options.stream_window,
                max_frame_size=options.max_frame_size,
                max_header_list_size=options.limits.header_list_bytes,
            ),
            limits=options.limits,
            clock=self.loop.time,
            reached=options.reached,
            grown_window=options.grown_window,
        )
        self._transport: asyncio.Transport | None = None
        self._pause: ReadingPause | None = None  # of a connection that is slowed down, and not cut
        # Asked for bytes instead, uvloop makes an object of 256 KiB for each TLS record, and cuts it down: a mapping,
        # its page faults and two more system calls.
        self._buffer = read_buffer.buffer()
        self.heard_at = monotonic()
        self._unhandled: Iterator[events.Event] = iter(())  # of a read that took long
        self._waits_its_turn = False
        self._rest: asyncio.TimerHandle | None = None  # before the next turn, of a peer that is slowed down
        self._read_size = READ_AT_FIRST
        self.turn_began = self.heard_at  # when this connection began to handle what was read
        self._write_paused = False
        self._noted = False  # that something waits
        self._armed_at = 0.0  # when the keepalive was
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = monotonic()
        self._moved = 0  # bytes read and written
        self._ping_done: list[Callable[[float], object]] = []

    # ---- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.on_made is not None:
            self.on_made(self)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.peer = peer_of(self._transport)
        ssl_object = transport.get_extra_info("ssl_object")
        self.alpn = ssl_object.selected_alpn_protocol() if ssl_object is not None else None
        options = self.options
        if options.limits.slow_down:
            most_unread = max(options.unsent_bytes, HIGH_WATER)  # above which the transport tells when it was read
            self._pause = ReadingPause(
                self._transport, most_unread, options.unread_timeout_s, options.reached, self._unread_for_long
            )
            self.http2.limit_queues(options.unsent_bytes)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        self.flush()
        if self.services is None:
            self._arm_keepalive()
        else:
            self._timer = self.loop.call_later(self.options.handshake_timeout_s, self._handshake_expired)
            if self.options.idle_timeout_s:
                self._idle = self.loop.call_later(self.options.idle_timeout_s, self._idle_due)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[: self._read_size]

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        self.heard_at = monotonic()
        self._moved += len(data)
        received = self.http2.receive(data)
        if self._waits_its_turn:
            self._unhandled = chain(self._unhandled, received)
            return
        if len(data) >= self._read_size:
            self._read_size = len(self._buffer)
        self.turn_began = self.heard_at
        self._handle(iter(received))

    def _handle(self, received: Iterator[events.Event]) -> None:
        """Handle events; if they take long, keep the rest, in order, for the connection's next turn."""
        began = self.turn_began
        streams = self.streams
        for event in received:
            if type(event) is events.DataReceived:
                stream = streams.get(event.stream_id)
                if stream is not None:
                    stream.data_received(event.data, event.credit, event.end_stream)
                else:
                    self.acknowledge(event.stream_id, event.credit)
            else:
                self._control_event(event)
            if monotonic() - began > LONG_S:
                break
        if self.http2.has_output and not self.flush_scheduled:
            self.flush_soon()
        if self._pause is not None:
            self._pause.read(self.http2.overdue_s)
        took = monotonic() - began
        if self.http2.unread or took > LONG_S:
            self._read_size = READ_AT_FIRST
            self._wait_turn(received)
        elif took > HEAVY_S and self.options.turns.crowded(took, self.loop):
            self._wait_turn(received)

    def _wait_turn(self, received: Iterator[events.Event]) -> None:
        """Stop reading until it is this connection's turn again, so that others are served in between."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._unhandled = received
        self._waits_its_turn = True
        if transport.is_reading():
            transport.pause_reading()
        turns, overdue_s = self.options.turns, 0.0
        if self._pause is not None:
            self._pause.waits_its_turn = True
            overdue_s = self.http2.overdue_s
        if overdue_s:
            self._rest = self.loop.call_later(overdue_s, turns.wait, self._read_on, self.loop)
        else:
            turns.wait(self._read_on, self.loop)

    def _read_on(self) -> None:
        """Go on where the last turn ended, and read again when all of that is handled."""
        self._waits_its_turn = False
        if self._pause is not None:
            self._pause.waits_its_turn = False
        received, self._unhandled = self._unhandled, iter(())
        stream, self.unfinished = self.unfinished, None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.turn_began = monotonic()
        if stream is not None:
            stream.deliver_rest()
        if self.unfinished is not None:
            self._read_size = READ_AT_FIRST
            self._wait_turn(received)
        else:
            self._handle(chain(received, self._more()))
        paused = self._waits_its_turn or (self._pause is not None and self._pause.paused)
        if not paused and not transport.is_closing():
            transport.resume_reading()

    def _more(self) -> Iterator[events.Event]:
        """Yield what the rest of the last read means, behind the events that it has become already."""
        if self.http2.unread:
            yield from self.http2.receive(b"")

    def eof_received(self) -> bool:
        return False  # an HTTP/2 peer that ends its side is gone

    def pause_writing(self) -> None:
        self._write_paused = True
        self.blocked = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._pause is not None:
            self._pause.drained()
        self._forget_unsent()
        self._unblock()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed:
            return
        self.closed = True
        self._unhandled, self.unfinished = iter(()), None
        self._forget_unsent()
        for timer in (self._timer, self._closing, self._idle, self._rest):
            if timer is not None:
                timer.cancel()
        if self._pause is not None:
            self._pause.close()
            self._pause = None  # it refers to us
        reason = self.goaway or tls_failures.of_peer(exc) or (words_of(exc) if exc else _CLOSED)
        self.blocked = False
        # As gRPC for Go tells it: to a client the server is unavailable, to a server the call is cancelled.
        code = Code.UNAVAILABLE if self.services is None or self._leaving else Code.CANCELLED
        for stream in list(self.streams.values()):
            stream.ended(Status(code, reason))
        if self.on_closed is not None:
            self.on_closed(self)
        self._transport = None  # its TLS is large, and we may have to wait for the garbage collector

    # ---- verbs ----------------------------------------------------------------------------------------------------

    def open_stream(
        self,
        path: str,
        metadata: Mapping[str, str],
        receiver: StreamReceiver,
        authority: str = "",
        timeout_s: float | None = None,
    ) -> Http2Call:
        """Client: start a call. `NativeStream.response` is done when the server accepted or refused it.

        Raises:
            RpcError: the connection takes no new call.

        """
        if self._transport is None or self.closed:
            raise RpcError(Code.UNAVAILABLE, self.goaway or "the connection is closed")
        secure = self._transport.get_extra_info("ssl_object") is not None
        headers = call_metadata.request(path, authority or self.authority, secure, metadata, timeout_s)
        try:
            stream_id = self.http2.open_stream(headers)
        except ConnectionError as error:
            raise RpcError(Code.UNAVAILABLE, str(error)) from error
        stream = Http2Call(self, self.http2.streams[stream_id], path, Metadata(()))
        stream.receiver = receiver
        stream.response = self.loop.create_future()
        stream.response.add_done_callback(_retrieved)
        self.streams[stream_id] = stream
        if timeout_s is not None:
            stream.deadline = self.loop.call_later(timeout_s, self._deadline_exceeded, stream)
        self.flush_soon()
        return stream

    def acknowledge(self, stream_id: int, size: int) -> None:
        if size:
            self.http2.acknowledge(stream_id, size)
            if self.http2.has_output and not self.flush_scheduled:
                self.flush_soon()

    def flush_soon(self) -> None:
        """Write what is queued at the end of this pass of the event loop."""
        if not self.flush_scheduled:
            self.flush_scheduled = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        self.flush_scheduled = False
        self._moved += self.unflushed
        self.unflushed = 0
        out = self.http2.take()
        transport = self._transport
        if out and transport is not None and not self.closed:
            transport.write(b"".join(out) if len(out) > 1 else out[0])
        if not self._write_paused:
            self.http2.unsent_replies = 0
            if self.blocked:
                self._unblock()
        if self._write_paused or self.http2.queued:
            self._check_unsent()
        elif self._noted:
            self._forget_unsent()

    def forget(self, stream_id: int) -> None:
        self.streams.pop(stream_id, None)
        self.paused.pop(stream_id, None)
        if not self.streams:
            self._idle_since = monotonic()

    def ping(self, done: Callable[[float], object] | None = None) -> None:
        """Measure the round trip; `round_trip` has it when the answer is here, and `done` is told."""
        if done is not None:
            self._ping_done.append(done)
        now = monotonic()
        if self.round_trip.ask(now, self._moved):
            self.http2.ping(_PING_PAYLOAD.pack(int(now * 1e6)))
            self.flush_soon()

    def go_away(self, reason: str = "") -> None:
        """Take no new calls; those under way go on."""
        self.http2.shutdown(ErrorCode.NO_ERROR, reason)
        self.flush_soon()

    def close(self, reason: str = "") -> None:
        """GOAWAY, what is queued, then close the socket. Calls under way end with UNAVAILABLE."""
        if self._transport is not None and not self.closed:
            self._leaving = True
            self.goaway = self.goaway or reason
            self.http2.shutdown(ErrorCode.NO_ERROR, reason)
            self._hang_up(self._transport)

    def abort(self, reason: str = "") -> None:
        """Drop the socket now."""
        self.goaway = self.goaway or reason
        if self._transport is not None:
            self._transport.abort()

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _control_event(self, event: events.Event) -> None:
        match event:
            case events.HeadersReceived():
                self._headers(event)
            case events.StreamEnded():
                stream = self.streams.get(event.stream_id)
                if stream is not None:
                    stream.ended(statuses.from_reset(event.code, event.message))
            case events.StreamDrained():
                stream = self.paused.get(event.stream_id)
                if stream is not None and not stream.congested:
                    del self.paused[event.stream_id]
                    stream.resume()
            case events.SettingsChanged():
                if self.services is not None:
                    self._arm_keepalive()
            case events.PingAcknowledged():
                self._ping_answered()
            case events.GoAwayReceived():
                self.goaway = f"the peer is going away: {event.debug}" if event.debug else "the peer is going away"
            case events.ConnectionFailed():
                self.goaway = self.goaway or event.message
                log.debug("HTTP/2 connection with %s failed: %s", self.peer.address, event.message)
                if self._transport is not None:
                    self._hang_up(self._transport)

    def _ping_answered(self) -> None:
        seconds = self.round_trip.answer(monotonic(), self._moved)
        if seconds is not None:
            waiting, self._ping_done = self._ping_done, []
            for done in waiting:
                done(seconds)

    def _headers(self, event: events.HeadersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            if self.services is not None:
                self._request(event)
            return
        if self.services is not None:  # request trailers
            stream.remote_ended()
        elif event.end_stream:
            self.http2.reset_stream(event.stream_id, ErrorCode.NO_ERROR)
            stream.ended(statuses.from_trailers(event.headers))
        else:
            fields = dict(event.headers)
            if fields.get(":status") != "200" or not fields.get("content-type", "").startswith("application/grpc"):
                stream.refuse(statuses.from_trailers([item for item in event.headers if item[0] != "grpc-status"]))
                return
            stream.metadata = Metadata(event.headers)
            if stream.response is not None and not stream.response.done():
                if stream.receiver is not None:
                    stream.receiver.call_accepted(stream.metadata)
                stream.response.set_result(stream.metadata)

    def _request(self, event: events.HeadersReceived) -> None:
        fields = dict(event.headers)
        if not fields.get("content-type", "").startswith("application/grpc"):
            self._plain_answer(
                event.stream_id, "415", "this port speaks gRPC: content-type application/grpc is needed\n"
            )
            return
        if fields[":method"] != "POST":
            self._plain_answer(event.stream_id, "405", "gRPC calls use POST\n")
            return
        path = fields[":path"]
        opened = self.http2.streams.get(event.stream_id)
        if opened is None:  # and closed again in the same read
            return
        stream = Http2Call(self, opened, path, Metadata(event.headers, self.options.metadata_names))
        service = (self.services or {}).get(path)
        timeout_s = call_metadata.parse_timeout(fields["grpc-timeout"]) if "grpc-timeout" in fields else None
        try:
            if service is None:
                raise RpcError(Code.UNIMPLEMENTED, f"unknown method {cut(path, 256)}")
            if "grpc-timeout" in fields and timeout_s is None:
                raise RpcError(Code.INTERNAL, f"malformed grpc-timeout {fields['grpc-timeout'][:32]!r}")
            stream.header_bytes = self._reserve_headers(stream.metadata.size)
            self.streams[event.stream_id] = stream
            stream.receiver = service(stream)
        except RpcError as error:
            stream.finish(error.status)
            return
        if timeout_s is not None and not stream.closed:
            stream.deadline = self.loop.call_later(timeout_s, self._deadline_exceeded, stream)
        if event.end_stream:
            stream.remote_ended()

    def _reserve_headers(self, size: int) -> int:
        """Book the header fields that a call keeps; return their size.

        Raises:
            RpcError: the connection, or all connections together, hold too much.

        """
        options = self.options
        limit = ""
        if self.header_bytes + size > options.header_bytes:
            limit = "header_bytes"
        elif options.header_budget is not None and not options.header_budget.reserve(self.header_bytes, size):
            limit = "header_bytes_total"
        if limit:
            options.reached[limit] += 1
            raise RpcError(Code.RESOURCE_EXHAUSTED, "too many bytes of header fields are held for open calls")
        self.header_bytes += size
        return size

    def release_headers(self, size: int) -> None:
        """Give back what `_reserve_headers` booked for a call."""
        if size and self.options.header_budget is not None:
            self.options.header_budget.release(self.header_bytes, size)
        self.header_bytes -= size

    def _plain_answer(self, stream_id: int, status: str, text: str) -> None:
        """Answer a request that is not gRPC in plain HTTP."""
        body = text.encode()
        headers = [
            (":status", status),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
        ]
        stream = self.http2.streams.get(stream_id)
        self.http2.send_headers(stream_id, headers)
        if stream is not None:
            self.http2.send_data(stream, body)
        self.http2.end_stream(stream_id)
        self.flush_soon()

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """Close the socket behind what is queued, and in any case soon."""
        self.flush()
        transport.close()
        if self._closing is None:
            self._closing = self.loop.call_later(CLOSE_TIMEOUT_S, transport.abort)

    def _unblock(self) -> None:
        self.blocked = False
        for stream_id, stream in list(self.paused.items()):
            if not stream.congested and self.paused.pop(stream_id, None) is stream:
                stream.resume()

    def _deadline_exceeded(self, stream: Http2Call) -> None:
        stream.refuse(Status(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _handshake_expired(self) -> None:
        self.options.reached["handshake"] += 1
        self.abort("no HTTP/2 preface and SETTINGS in time")

    def _idle_due(self) -> None:
        left = self.options.idle_timeout_s - (monotonic() - self._idle_since if not self.streams else 0.0)
        if left > 0:
            self._idle = self.loop.call_later(left, self._idle_due)
        else:
            self.options.reached["idle_connection"] += 1
            # A call that is on its way is refused by the GOAWAY, and the client makes it anew on its next connection.
            self.go_away("no call for too long")
            self._idle = self.loop.call_later(CLOSE_TIMEOUT_S, self.close, "no call for too long")

    def _check_unsent(self) -> None:
        """What is not data waits for nobody's permission: a peer that makes us answer and never reads is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        waiting = self.http2.queued + transport.get_write_buffer_size()
        if self._pause is not None:
            self._pause.written()
            for stream_id in self.http2.take_overfull():
                self._end_unread(stream_id, "unsent_bytes")
        elif waiting > self.options.unsent_bytes:
            self.options.reached["unsent_bytes"] += 1
            self.abort(_UNREAD)
            return
        if self.options.unsent is not None:
            self._noted = True
            worst = self.options.unsent.note(self, waiting if self._pause is None else self.http2.queued)
            if worst is not None:
                worst.cut_unread()

    def cut_unread(self) -> None:
        """Give up what waits here, for among all whose peers do not read, this one keeps the most.

        Of a connection that many users share, the streams end on which the most waits, until half of it is gone.
        """
        if self._pause is None:
            self.options.reached["unsent_total"] += 1
            self._forget_unsent()
            self.abort(_UNREAD)
            return
        enough = self.http2.queued // 2
        if not enough:
            return
        for stream in sorted(self.http2.streams.values(), key=lambda each: each.queued, reverse=True):
            if self.http2.queued <= enough:
                break
            self._end_unread(stream.id, "unsent_total")
        if self.options.unsent is not None:
            self.options.unsent.note(self, self.http2.queued)

    def _end_unread(self, stream_id: int, limit: str) -> None:
        if stream_id not in self.http2.streams:
            return
        self.options.reached[limit] += 1
        self.http2.reset_stream(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
        self.flush_soon()
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.ended(Status(Code.RESOURCE_EXHAUSTED, _UNREAD))

    def _unread_for_long(self) -> None:
        self.abort(_UNREAD)

    def _forget_unsent(self) -> None:
        if self._noted and self.options.unsent is not None:
            self._noted = False
            self.options.unsent.forget(self)

    def _arm_keepalive(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = monotonic()
        self._timer = self.loop.call_later(self.options.keepalive_time_s, self._keepalive_due)

    def _keepalive_due(self) -> None:
        if self.heard_at > self._armed_at:
            self._arm_keepalive()
            return
        self.ping()
        self._timer = self.loop.call_later(self.options.keepalive_timeout_s, self._keepalive_expired)

    def _keepalive_expired(self) -> None:
        if self.heard_at > self._armed_at:
            self._arm_keepalive()
        else:
            self.abort(f"no answer to a keepalive ping in {self.options.keepalive_timeout_s:g} s")


def _retrieved(future: asyncio.Future[Metadata]) -> None:
    if not future.cancelled():
        future.exception()
