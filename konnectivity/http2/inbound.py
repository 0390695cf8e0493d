"""Receiving half of a connection: effects of the peer's frames on it and its streams (RFC 9113 sections 5, 6 and 8).

Owns the order of frames, the receiving half of flow control, and the budget of the peer. Knows both roles, and nothing
of what the data means.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.http2 import events, frame_payloads, frames, header_rules
from konnectivity.http2.abuse_limits import Limits, PeerCosts
from konnectivity.http2.frames import ConnectionFault, ErrorCode, StreamFault
from konnectivity.http2.header_blocks import HeaderBlocks
from konnectivity.http2.outbound import Outbound
from konnectivity.http2.settings import Settings
from konnectivity.http2.stream_state import Http2Stream
from konnectivity.http2.streams import StreamTable

_MOVED_WINDOWS_COST = 100  # cost in cheap frames of SETTINGS that move the windows
_STREAMS_PER_FRAME = 10  # streams that cost as much as one cheap frame when one frame changes all of them
_SETTINGS_ACK = frames.frame(frames.SETTINGS, frames.ACK, 0)
_SETTINGS_PER_FRAME = 10  # parameters in one SETTINGS frame that cost as much as one cheap frame


class Inbound:
    """Frame sink of one connection: frames -> `events`, and answers in `Outbound`. Raises `ConnectionFault`.

    Attributes:
        events: list that takes the events of the current call of `Http2Connection.receive`.
        work: work since the reader set it to 0: frames that are not DATA, and header fields.
        refusing: whether new streams are refused, because this side has sent GOAWAY.
        goaway_received: whether the peer has sent GOAWAY.
        costs: budget of the peer.
        connection_window: bytes that the peer may send on all streams before window is returned.

    """

    def __init__(
        self,
        client: bool,
        local: Settings,
        table: StreamTable,
        outbound: Outbound,
        connection_window: int,
        limits: Limits,
        costs: PeerCosts,
        grown_window: int,
    ) -> None:
        self.events: list[events.Event] = []
        self.work = 0
        self.refusing = False
        self.goaway_received = False
        self.costs = costs
        self.connection_window = max(connection_window, frames.DEFAULT_WINDOW)
        self._client = client
        self._grown_window = grown_window
        self._local = local
        self._table = table
        self._streams = table.open
        self._outbound = outbound
        self._out = outbound.out
        outbound.remote.enable_push = 0 if client else 1  # a server's value is always 0: clients never push
        self._blocks = HeaderBlocks(limits, costs)
        self._receive_window = self.connection_window
        # Until the peer acknowledges our SETTINGS, it may use the initial window of the RFC (section 6.5.3).
        self._stream_window = max(local.initial_window_size, frames.DEFAULT_WINDOW)
        self._only: int | None = frames.SETTINGS  # the only type of frame that is allowed next; None: any
        self._data_stream: Http2Stream | None = None  # stream of the current DATA frame
        self._data_ends = False

    def add_stream(self, stream_id: int) -> Http2Stream:
        """Open a stream with the initial windows."""
        stream = Http2Stream(stream_id, self._outbound.remote.initial_window_size, self._stream_window)
        self._streams[stream_id] = stream
        return stream

    def consumed(self, stream: Http2Stream, size: int) -> None:
        """Record that `size` bytes of a stream were consumed, and return window if it is worth a frame."""
        stream.unreturned += size
        if stream.unreturned >= stream.receive_window:
            self.return_window(stream)

    def return_window(self, stream: Http2Stream) -> None:
        """Return the consumed bytes as window, once they are at least as many as the peer may still send."""
        size = stream.unreturned
        if size and size >= stream.receive_window and not stream.remote_closed:
            if stream.window < self._grown_window:
                size += self._grown_window - stream.window
                stream.window = self._grown_window
            self._out.append(frames.window_update(stream.id, size))
            stream.receive_window += size
            stream.unreturned = 0

    # ---- called by the reader -------------------------------------------------------------------------------------

    def frame_received(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Handle a frame that is not DATA without padding."""
        if self._only is not None and kind != self._only:
            self._out_of_order()
        self.work += 1
        handle = _HANDLERS.get(kind)
        if handle is None:  # unknown types are ignored (section 4.1), but cost something
            self.costs.spend()
            return
        try:
            handle(self, flags, stream_id, payload)
        except StreamFault as fault:
            self._fault(fault)

    def data_announced(self, stream_id: int, flags: int, length: int) -> None:
        """Check the header of a DATA frame (section 6.1) against the windows and the state of its stream."""
        if self._only is not None:
            self._out_of_order()
        if length > self._receive_window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        self._receive_window -= length
        if self._receive_window * 2 < self.connection_window:
            # The connection's window is returned at once: only the window of each stream limits the peer.
            self._out.append(frames.window_update(0, self.connection_window - self._receive_window))
            self._receive_window = self.connection_window
        if not length:
            self.costs.spend()
        stream = self._streams.get(stream_id)
        if (
            stream is None
            or stream.remote_closed
            or not stream.headers_received
            or (length > stream.receive_window and length)  # empty DATA needs no window, not even one below zero
        ):
            self._data_stream = None
            self._refuse_data(stream_id, stream)
        else:
            stream.receive_window -= length
            self._data_ends = bool(flags & frames.END_STREAM)
            self._data_stream = stream

    def data_received(self, data: memoryview, last: bool) -> None:
        """Hand on a piece of the announced DATA frame."""
        stream = self._data_stream
        if stream is None or stream.remote_closed:  # the stream may end between two pieces of one frame
            return
        if stream.expected is None and not (last and self._data_ends):  # inlined part of `_deliver`, which saves a call
            self.events.append(events.DataReceived(stream.id, data, len(data), False))
        else:
            self._deliver(stream, data, len(data), last and self._data_ends)

    # ---- messages: DATA, HEADERS, CONTINUATION --------------------------------------------------------------------

    def _deliver(self, stream: Http2Stream, data: memoryview, credit: int, ends: bool) -> None:
        if stream.expected is not None:
            stream.received += len(data)
            if stream.received > stream.expected or (ends and stream.received != stream.expected):
                self._fault(StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA differs from content-length"))
                return
        self.events.append(events.DataReceived(stream.id, data, credit, ends))
        if ends:
            self._remote_ended(stream)

    def _refuse_data(self, stream_id: int, stream: Http2Stream | None) -> None:
        if self._table.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"DATA on idle stream {stream_id}")
        if stream is None or stream.remote_closed:
            if not self._table.reset_by_us(stream_id):
                self._fault(StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream"))
        elif not stream.headers_received:
            self._fault(StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS"))
        else:
            self._fault(StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window"))

    def _padded_data_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.data_announced(stream_id, flags, len(payload))
        content = frame_payloads.unpadded(flags, payload)
        if self._data_stream is not None:
            self._deliver(self._data_stream, memoryview(content), len(payload), self._data_ends)

    def _headers_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        fragment = frame_payloads.header_fragment(flags, stream_id, payload)
        self._blocks.begin(stream_id, bool(flags & frames.END_STREAM), fragment)
        self._only = frames.CONTINUATION
        if flags & frames.END_HEADERS:
            self._header_block(stream_id)

    def _continuation_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._blocks.extend(stream_id, payload)
        if flags & frames.END_HEADERS:
            self._header_block(stream_id)

    def _header_block(self, stream_id: int) -> None:
        self._only = None
        before = self._blocks.work
        headers, end_stream = self._blocks.finish()
        self.work += self._blocks.work - before
        self.costs.header_fields(len(headers))
        stream = self._streams.get(stream_id)
        try:
            if stream is None:
                self._unknown_stream(stream_id, headers, end_stream)
            elif stream.remote_closed:
                raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
            elif stream.headers_received:
                self._trailers(stream, headers, end_stream)
            else:
                self._response(stream, headers, end_stream)
        except ValueError as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from error

    def _unknown_stream(self, stream_id: int, headers: events.HeaderList, end_stream: bool) -> None:
        if self._table.is_idle(stream_id):
            if self._client:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on idle stream {stream_id}")
            self._request(stream_id, headers, end_stream)
            return
        reset_by_us = self._table.reset_by_us(stream_id)
        if not self._client and not reset_by_us:
            code = ErrorCode.PROTOCOL_ERROR if reset_by_us is None else ErrorCode.STREAM_CLOSED
            raise ConnectionFault(code, f"HEADERS on stream {stream_id}, which is closed")
        if self._client:
            self.costs.spend()  # trailers of calls that this side cancelled
        else:
            self.costs.ignored_headers()

    def _request(self, stream_id: int, headers: events.HeaderList, end_stream: bool) -> None:
        self._table.last_remote = stream_id
        if not self.costs.new_stream() or self.refusing or self._refuse_above_limit():
            self._reply_reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        expected = header_rules.check_request(headers)
        if end_stream and expected:
            raise ValueError("content-length without DATA")
        stream = self.add_stream(stream_id)
        stream.expected = expected
        self._headers_received(stream, headers, end_stream)

    def _refuse_above_limit(self) -> bool:
        """Return whether the peer has as many open streams as it may, and count that (section 5.1.2)."""
        if len(self._streams) < self._local.max_concurrent_streams:
            return False
        self.costs.reached["concurrent_streams"] += 1
        return True

    def _response(self, stream: Http2Stream, headers: events.HeaderList, end_stream: bool) -> None:
        if header_rules.check_response(headers) >= 200:
            self._headers_received(stream, headers, end_stream)
        elif end_stream:  # a response below 200 is interim (section 8.1), and ignored
            raise ValueError("interim response that ends the stream")

    def _headers_received(self, stream: Http2Stream, headers: events.HeaderList, end_stream: bool) -> None:
        stream.headers_received = True
        self.events.append(events.HeadersReceived(stream.id, headers, end_stream, trailers=False))
        if end_stream:
            self._remote_ended(stream)

    def _trailers(self, stream: Http2Stream, headers: events.HeaderList, end_stream: bool) -> None:
        header_rules.check_trailers(headers)
        if not end_stream:
            raise ValueError("second header block without END_STREAM")
        if stream.expected is not None and stream.received != stream.expected:
            raise ValueError("DATA differs from content-length")
        self.events.append(events.HeadersReceived(stream.id, headers, end_stream, trailers=True))
        self._remote_ended(stream)

    def _remote_ended(self, stream: Http2Stream) -> None:
        stream.remote_closed = True
        self._table.close_if_done(stream)

    # ---- control frames -------------------------------------------------------------------------------------------

    def _priority_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.costs.spend()
        frame_payloads.check_priority(stream_id, payload)

    def _rst_stream_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self._streams.get(stream_id)
        self.costs.reset_by_peer(stream is not None, self._client or (stream is not None and stream.answered))
        code = frame_payloads.reset_code(payload)
        if self._table.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM on idle stream {stream_id}")
        self._ended_by_peer(stream_id, code, f"stream reset by the peer: {frames.error_name(code)}")

    def _settings_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.costs.spend(1 + len(payload) // (frames.SETTING.size * _SETTINGS_PER_FRAME))
        frame_payloads.check_settings(flags, stream_id, payload)
        if flags & frames.ACK:
            self._settings_acknowledged()
            return
        self._only = None
        remote = self._outbound.remote
        before = remote.initial_window_size
        self._outbound.apply_settings(payload)
        if self._client and remote.enable_push:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH from a server")
        self._reply(_SETTINGS_ACK)
        self.events.append(events.SettingsChanged())
        if remote.initial_window_size != before:
            self.costs.spend(_MOVED_WINDOWS_COST + len(self._streams) // _STREAMS_PER_FRAME)
            self._drained(self._outbound.resume())

    def _settings_acknowledged(self) -> None:
        if self._only is not None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS ack before SETTINGS")
        delta = self._local.initial_window_size - self._stream_window
        self._stream_window += delta
        if delta:
            for stream in self._streams.values():
                stream.receive_window += delta
                stream.window += delta
                self.return_window(stream)

    def _push_promise_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")

    def _ping_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.costs.spend()
        frame_payloads.check_ping(stream_id, payload)
        if flags & frames.ACK:
            self.events.append(events.PingAcknowledged(payload))
        else:
            self._reply(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _goaway_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.costs.spend(1 + (len(self._streams) // _STREAMS_PER_FRAME if self._client else 0))
        goaway = frame_payloads.goaway(stream_id, payload)
        self.goaway_received = True
        self.events.append(goaway)
        if self._client:
            for refused in [open_id for open_id in self._streams if open_id > goaway.last_stream_id]:
                self._ended_by_peer(refused, ErrorCode.REFUSED_STREAM, f"refused by the peer's GOAWAY {goaway.debug}")

    def _window_update_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.costs.window_update()
        increment = frame_payloads.window_increment(payload)
        if not stream_id:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0 on the connection")
            self._drained(self._outbound.widen(increment))
            return
        if self._table.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE on idle stream {stream_id}")
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not increment:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        self._drained(self._outbound.widen_stream(stream, increment))

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _drained(self, streams: list[Http2Stream]) -> None:
        self.events += [events.StreamDrained(stream.id) for stream in streams]

    def _ended_by_peer(self, stream_id: int, code: int, message: str) -> None:
        if stream_id in self._streams:
            self._outbound.close(stream_id, by_us=False)
            self.events.append(events.StreamEnded(stream_id, code, message, by_peer=True))

    def _out_of_order(self) -> None:
        if self._only == frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame stands inside a header block")

    def _fault(self, fault: StreamFault) -> None:
        self.costs.spend()
        if self._table.is_idle(fault.stream_id):  # an idle stream cannot be reset
            raise ConnectionFault(fault.code, str(fault)) from fault
        self._reply_reset(fault.stream_id, fault.code)
        self.events.append(events.StreamEnded(fault.stream_id, fault.code, str(fault), by_peer=False))

    def _reply_reset(self, stream_id: int, code: int) -> None:
        self.costs.reply()
        self._outbound.reset(stream_id, code)

    def _reply(self, reply: bytes) -> None:
        self.costs.reply()
        self._out.append(reply)


_HANDLERS: dict[int, Callable[[Inbound, int, int, bytes], None]] = {
    frames.DATA: Inbound._padded_data_frame,
    frames.HEADERS: Inbound._headers_frame,
    frames.PRIORITY: Inbound._priority_frame,
    frames.RST_STREAM: Inbound._rst_stream_frame,
    frames.SETTINGS: Inbound._settings_frame,
    frames.PUSH_PROMISE: Inbound._push_promise_frame,
    frames.PING: Inbound._ping_frame,
    frames.GOAWAY: Inbound._goaway_frame,
    frames.WINDOW_UPDATE: Inbound._window_update_frame,
    frames.CONTINUATION: Inbound._continuation_frame,
}
