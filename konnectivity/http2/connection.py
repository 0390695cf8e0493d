"""The HTTP/2 state machine of one connection, either role (RFC 9113). Owns every stream's state and all windows.

`receive(bytes)` returns events; verbs queue bytes that `take()` hands out. Nothing here waits, logs or looks at a clock
of its own. After `ConnectionFailed` the connection is finished: write what `take()` returns and close the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from konnectivity.http2 import events, frames
from konnectivity.http2 import headers as header_rules
from konnectivity.http2.frames import ConnectionFault, ErrorCode, Http2Error, StreamFault
from konnectivity.http2.limits import Limits, TokenBucket
from konnectivity.http2.reader import FrameReader
from konnectivity.http2.settings import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, Settings
from konnectivity.http2.stream import Buffer, Http2Stream

_REMEMBERED_STREAMS = 256  # closed streams of which we still know how they ended
_HTTP1_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"this port speaks gRPC over HTTP/2, not HTTP/1\n"
)


class Http2Connection:
    """One endpoint.

    Args:
        client: which role we play.
        settings: ours, as announced to the peer.
        connection_window: bytes the peer may send on all streams together before we return window.
        limits: what the peer may cost us.
        clock: seconds, monotonic; asked only when a flood is suspected.
    """

    def __init__(
        self,
        client: bool,
        settings: Settings,
        connection_window: int = frames.MAX_WINDOW,
        limits: Limits | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.client = client
        self.local = settings
        self.remote = Settings()
        self.streams: dict[int, Http2Stream] = {}
        self.send_window = frames.DEFAULT_WINDOW
        self.failed = False
        self.goaway_sent = False
        self.goaway_received = False
        self.unsent_replies = 0  # reset by whoever writes, once the line took everything
        self._limits = limits or Limits()
        self._receive_window = connection_window
        self._connection_window = connection_window
        self._out: list[Buffer] = []
        self._events: list[events.Event] = []
        self._ids = count(1, 2)
        self._last_local_id = 0
        self._last_remote_id = 0
        self._ended: dict[int, bool] = {}  # recently closed stream -> reset by us
        self._settings_seen = False
        self._preface = b"" if client else frames.PREFACE
        self._reader = FrameReader(self, settings.max_frame_size)
        self._encoder = Encoder()
        self._decoder = Decoder(max_header_list_size=self._limits.header_list_bytes)
        self._block: tuple[int, int, list[bytes]] | None = None  # stream, flags, fragments of an open header block
        self._cheap = TokenBucket(self._limits.cheap_frames_burst, self._limits.cheap_frames_per_s, clock)
        self._data_stream: Http2Stream | None = None  # of the DATA frame under way
        self._data_ends = False
        self._dispatch: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._padded_data_frame,
            frames.HEADERS: self._headers_frame,
            frames.PRIORITY: self._priority_frame,
            frames.RST_STREAM: self._rst_stream_frame,
            frames.SETTINGS: self._settings_frame,
            frames.PUSH_PROMISE: self._push_promise_frame,
            frames.PING: self._ping_frame,
            frames.GOAWAY: self._goaway_frame,
            frames.WINDOW_UPDATE: self._window_update_frame,
        }
        if client:
            self._out.append(frames.PREFACE)
        self._out.append(frames.settings(settings.changes()))
        if connection_window > frames.DEFAULT_WINDOW:
            self._out.append(frames.window_update(0, connection_window - frames.DEFAULT_WINDOW))

    # ---- bytes in -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[events.Event]:
        """Take bytes from the line, in any cut, and return what they mean."""
        if self.failed:
            return []
        self._events = []
        try:
            if self._preface:
                data = self._check_preface(data)
            self._reader.feed(data)
        except Http2Error as fault:
            self._fail(fault.code, str(fault))
        return self._events

    def take(self) -> list[Buffer]:
        """All bytes to write, in order; forgets them."""
        out, self._out = self._out, []
        return out

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    # ---- verbs ----------------------------------------------------------------------------------------------------

    def open_stream(self, headers: Iterable[tuple[str, str]]) -> int:
        """Client: send a request's headers; return the new stream's id.

        Raises:
            ConnectionError: the connection is closing, or the peer takes no more streams now.
        """
        if self.failed or self.goaway_received or self.goaway_sent:
            raise ConnectionError("the HTTP/2 connection is closing")
        if len(self.streams) >= self.remote.max_concurrent_streams:
            raise ConnectionError(f"the peer takes no more than {self.remote.max_concurrent_streams} streams")
        stream_id = next(self._ids)
        if stream_id > frames.MAX_STREAM_ID:
            raise ConnectionError("the HTTP/2 connection has used all stream ids")
        self._last_local_id = stream_id
        self._add_stream(stream_id)
        self._out += self._encode(stream_id, headers, end_stream=False)
        return stream_id

    def send_headers(self, stream_id: int, headers: Iterable[tuple[str, str]], end_stream: bool = False) -> None:
        """Server: a response's headers, or (with `end_stream`) trailers, which go out behind queued data."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_closed:
            return
        block = self._encode(stream_id, headers, end_stream)
        stream.local_closed = end_stream
        if stream.queue:
            stream.trailers = block
        else:
            self._out += block
            self._forget_if_closed(stream)

    def send_data(self, stream: Http2Stream, head: bytes, body: Buffer = b"") -> None:
        """Send `head` then `body`; what the windows do not allow yet is queued (see `Http2Stream.queued`)."""
        if stream.local_closed:
            return
        size = len(head) + len(body)
        if size <= self.remote.max_frame_size and not (
            stream.queue or size > stream.send_window or size > self.send_window
        ):
            stream.send_window -= size
            self.send_window -= size
            out = self._out
            out.append(frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id))
            out.append(head)
            if body:
                out.append(body)
        else:
            stream.queue.append(head)
            if body:
                stream.queue.append(body)
            stream.queued += size
            self._pump(stream)

    def end_stream(self, stream_id: int) -> None:
        """Half-close our side with an empty DATA frame, behind queued data."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_closed:
            return
        stream.local_closed = True
        last = [frames.frame(frames.DATA, frames.END_STREAM, stream_id)]
        if stream.queue:
            stream.trailers = last
        else:
            self._out += last
            self._forget_if_closed(stream)

    def reset_stream(self, stream_id: int, code: int = ErrorCode.CANCEL) -> None:
        """Abandon a stream; what was queued on it is dropped."""
        if self.streams.pop(stream_id, None) is not None:
            self._remember(stream_id, by_us=True)
            self._out.append(frames.rst_stream(stream_id, code))

    def acknowledge(self, stream_id: int, size: int) -> None:
        """`size` bytes of the stream were consumed: the peer may send as many again."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return
        stream.unreturned += size
        if stream.unreturned * 2 >= stream.receive_window + stream.unreturned:
            self._out.append(frames.window_update(stream_id, stream.unreturned))
            stream.receive_window += stream.unreturned
            stream.unreturned = 0

    def grow_window(self, stream_id: int, size: int) -> None:
        """Let the peer send `size` bytes more on this stream than it could."""
        stream = self.streams.get(stream_id)
        if stream is not None and not stream.remote_closed:
            size = min(size, frames.MAX_WINDOW - stream.receive_window - stream.unreturned)
            self._out.append(frames.window_update(stream_id, size))
            stream.receive_window += size

    def ping(self, payload: bytes) -> None:
        """Send PING; `payload` is 8 bytes and comes back in `PingAcknowledged`."""
        self._out.append(frames.frame(frames.PING, 0, 0, payload))

    def shutdown(self, code: int = ErrorCode.NO_ERROR, debug: str = "") -> None:
        """Send GOAWAY: no new streams; those open go on (RFC 9113 section 6.8)."""
        if not self.goaway_sent:
            self.goaway_sent = True
            self._out.append(frames.goaway(self._last_remote_id, code, debug.encode()[:256]))

    # ---- frames in (called by the reader) -------------------------------------------------------------------------

    def frame_received(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None or kind == frames.CONTINUATION:
            self._continuation_frame(kind, flags, stream_id, payload)
            return
        if not self._settings_seen and kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        handle = self._dispatch.get(kind)
        if handle is None:  # unknown types are ignored (section 4.1), but cost something
            self._spend()
            return
        try:
            handle(flags, stream_id, payload)
        except StreamFault as fault:
            self._fault(fault)

    def data_announced(self, stream_id: int, flags: int, length: int) -> None:
        if self._block is not None or not self._settings_seen:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA inside a header block or before SETTINGS")
        if length > self._receive_window:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        self._receive_window -= length
        if not length:
            self._spend()
        stream = self.streams.get(stream_id)
        try:
            if stream is None or stream.remote_closed or not stream.headers_received:
                self._data_stream = None
                self._check_data_without_stream(stream_id, stream)
            elif length > stream.receive_window:
                raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
            else:
                stream.receive_window -= length
                self._data_ends = bool(flags & frames.END_STREAM)
                self._data_stream = stream
        except StreamFault as fault:
            self._data_stream = None
            self._fault(fault)

    def data_received(self, data: memoryview, last: bool) -> None:
        size = len(data)
        if self._receive_window * 2 < self._connection_window:
            # The connection's window is never what limits: each stream's own window is.
            self._out.append(frames.window_update(0, self._connection_window - self._receive_window))
            self._receive_window = self._connection_window
        stream = self._data_stream
        if stream is None:
            return
        if stream.id not in self.streams:  # ended between two pieces of one frame
            self._data_stream = None
            return
        ends = last and self._data_ends
        self._deliver(stream, data, size, ends)

    def _deliver(self, stream: Http2Stream, data: memoryview, credit: int, ends: bool) -> None:
        if stream.expected is not None:
            stream.received += len(data)
            if stream.received > stream.expected or (ends and stream.received != stream.expected):
                self._fault(StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA differs from content-length"))
                return
        self._events.append(events.DataReceived(stream.id, data, credit, ends))
        if ends:
            self._remote_ended(stream)

    def _padded_data_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.data_announced(stream_id, flags, len(payload))
        content = _strip_padding(flags, payload)
        stream = self._data_stream
        if stream is not None:
            self._deliver(stream, memoryview(content), len(payload), self._data_ends)

    def _check_data_without_stream(self, stream_id: int, stream: Http2Stream | None) -> None:
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"DATA on idle stream {stream_id}")
        if stream is not None and not stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
        if not self._ended.get(stream_id, False):
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")

    def _headers_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0 or (not self.client and stream_id % 2 == 0):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        block = _strip_padding(flags, payload)
        depends_on_itself = False
        if flags & frames.PRIORITY_FLAG:
            if len(block) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            depends_on_itself = frames.UINT32.unpack_from(block)[0] & 0x7FFFFFFF == stream_id
            block = block[5:]
        if depends_on_itself:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream depends on itself")
        if flags & frames.END_HEADERS:
            self._header_block(stream_id, flags, block)
        else:
            self._block = (stream_id, flags, [block])

    def _continuation_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or kind != frames.CONTINUATION or stream_id != self._block[0]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION and header block do not match")
        _, first_flags, fragments = self._block
        fragments.append(payload)
        limits = self._limits
        if len(fragments) > limits.continuation_frames or sum(map(len, fragments)) > limits.header_block_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.END_HEADERS:
            self._block = None
            try:
                self._header_block(stream_id, first_flags, b"".join(fragments))
            except StreamFault as fault:
                self._fault(fault)

    def _header_block(self, stream_id: int, flags: int, block: bytes) -> None:
        if len(block) > self._limits.header_block_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        try:
            decoded = self._decoder.decode(block)
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large") from error
        except (HPACKError, UnicodeDecodeError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block cannot be decoded: {error}") from error
        headers = [(str(name), str(value)) for name, value in decoded]
        end_stream = bool(flags & frames.END_STREAM)
        stream = self.streams.get(stream_id)
        try:
            if stream is None:
                self._new_remote_stream(stream_id, headers, end_stream)
            elif stream.remote_closed:
                raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
            elif stream.headers_received:
                self._trailers(stream, headers, end_stream)
            else:
                self._response(stream, headers, end_stream)
        except ValueError as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from error

    def _new_remote_stream(self, stream_id: int, headers: events.HeaderList, end_stream: bool) -> None:
        if self.client:
            if stream_id % 2 == 0 or stream_id > self._last_local_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}, which is not ours")
            return
        if stream_id <= self._last_remote_id:
            by_us = self._ended.get(stream_id)
            if by_us:
                return
            code = ErrorCode.PROTOCOL_ERROR if by_us is None else ErrorCode.STREAM_CLOSED
            raise ConnectionFault(code, f"HEADERS on stream {stream_id}, which is closed")
        self._last_remote_id = stream_id
        if self.goaway_sent or len(self.streams) >= self.local.max_concurrent_streams:
            self._remember(stream_id, by_us=True)
            self._reply(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return
        expected = header_rules.check_request(headers)
        if end_stream and expected:
            raise ValueError("content-length without DATA")
        stream = self._add_stream(stream_id)
        stream.expected = expected
        stream.headers_received = True
        self._events.append(events.HeadersReceived(stream_id, headers, end_stream, trailers=False))
        if end_stream:
            self._remote_ended(stream)

    def _response(self, stream: Http2Stream, headers: events.HeaderList, end_stream: bool) -> None:
        header_rules.check_response(headers)
        if headers[0][1].startswith("1"):  # interim response (RFC 9113 section 8.1)
            if end_stream:
                raise ValueError("interim response that ends the stream")
            return
        stream.headers_received = True
        self._events.append(events.HeadersReceived(stream.id, headers, end_stream, trailers=False))
        if end_stream:
            self._remote_ended(stream)

    def _trailers(self, stream: Http2Stream, headers: events.HeaderList, end_stream: bool) -> None:
        header_rules.check_trailers(headers)
        if not end_stream:
            raise ValueError("second header block without END_STREAM")
        if stream.expected is not None and stream.received != stream.expected:
            raise ValueError("DATA differs from content-length")
        self._events.append(events.HeadersReceived(stream.id, headers, end_stream, trailers=True))
        self._remote_ended(stream)

    def _priority_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend()
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes")
        if frames.UINT32.unpack_from(payload)[0] & 0x7FFFFFFF == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "stream depends on itself")

    def _rst_stream_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend()
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes")
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM on idle stream {stream_id}")
        if self.streams.pop(stream_id, None) is not None:
            self._remember(stream_id, by_us=False)
            code = frames.UINT32.unpack(payload)[0]
            self._events.append(
                events.StreamEnded(stream_id, code, f"stream reset by the peer: {frames.error_name(code)}", True)
            )

    def _settings_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend()
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS on stream {stream_id}")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ack with a payload")
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS is not a multiple of 6 bytes")
        self._settings_seen = True
        before = self.remote.initial_window_size
        for key, value in frames.SETTING.iter_unpack(payload):
            self.remote.apply(key, value)
            if key == HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, 4096)
            elif key == INITIAL_WINDOW_SIZE:
                self._move_windows(value - before)
                before = value
        self._reply(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._events.append(events.SettingsChanged())

    def _push_promise_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")

    def _ping_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend()
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"PING on stream {stream_id}")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING is not 8 bytes")
        if flags & frames.ACK:
            self._events.append(events.PingAcknowledged(payload))
        else:
            self._reply(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _goaway_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend()
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"GOAWAY on stream {stream_id}")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is shorter than 8 bytes")
        self.goaway_received = True
        last = frames.UINT32.unpack_from(payload)[0] & 0x7FFFFFFF
        code = frames.UINT32.unpack_from(payload, 4)[0]
        debug = payload[8:].decode("utf-8", "replace")
        self._events.append(events.GoAwayReceived(last, code, debug))
        if self.client:
            for refused in [stream_id for stream_id in self.streams if stream_id > last]:
                del self.streams[refused]
                self._events.append(
                    events.StreamEnded(refused, ErrorCode.REFUSED_STREAM, f"refused by the peer's GOAWAY {debug}", True)
                )

    def _window_update_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes")
        increment = frames.UINT32.unpack(payload)[0] & 0x7FFFFFFF
        if not stream_id:
            if not increment or self.send_window + increment > frames.MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise ConnectionFault(code, f"WINDOW_UPDATE by {increment} on the connection")
            self.send_window += increment
            self._window_opened(list(self.streams.values()))
            return
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE on idle stream {stream_id}")
        found = self.streams.get(stream_id)
        if found is None:
            return
        if not increment:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        if found.send_window + increment > frames.MAX_WINDOW:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE over the maximum")
        found.send_window += increment
        self._window_opened((found,))

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _check_preface(self, data: bytes) -> bytes:
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            if len(self._preface) == len(frames.PREFACE) and data[:1].isalpha():
                self._out.clear()
                self._out.append(_HTTP1_ANSWER)
                self.goaway_sent = True
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client: bad connection preface")
        self._preface = self._preface[size:]
        return data[size:]

    def _window_opened(self, streams: Iterable[Http2Stream]) -> None:
        for stream in streams:
            if stream.queue:
                self._pump(stream)
                if not stream.queue:
                    self._events.append(events.StreamDrained(stream.id))

    def _pump(self, stream: Http2Stream) -> None:
        """Send what the windows allow of the stream's queue, in frames the peer takes."""
        queue = stream.queue
        largest = self.remote.max_frame_size
        while queue:
            size = min(stream.queued, stream.send_window, self.send_window, largest)
            if size <= 0:
                return
            self._out.append(frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id))
            stream.send_window -= size
            self.send_window -= size
            stream.queued -= size
            while size:
                piece = queue.popleft()
                if len(piece) > size:
                    view = memoryview(piece)
                    queue.appendleft(view[size:])
                    piece = view[:size]
                self._out.append(piece)
                size -= len(piece)
        if stream.trailers is not None:
            self._out += stream.trailers
            stream.trailers = None
            self._forget_if_closed(stream)

    def _move_windows(self, delta: int) -> None:
        for stream in self.streams.values():
            stream.send_window += delta
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS moves a window over the maximum")
        if delta > 0:
            self._window_opened(list(self.streams.values()))

    def _encode(self, stream_id: int, headers: Iterable[tuple[str, str]], end_stream: bool) -> list[bytes]:
        block = self._encoder.encode(list(headers))
        return frames.header_block(stream_id, block, end_stream, self.remote.max_frame_size)

    def _add_stream(self, stream_id: int) -> Http2Stream:
        stream = Http2Stream(stream_id, self.remote.initial_window_size, self.local.initial_window_size)
        self.streams[stream_id] = stream
        return stream

    def _remote_ended(self, stream: Http2Stream) -> None:
        stream.remote_closed = True
        self._forget_if_closed(stream)

    def _forget_if_closed(self, stream: Http2Stream) -> None:
        if stream.local_closed and stream.remote_closed and not stream.queue:
            del self.streams[stream.id]
            self._remember(stream.id, by_us=False)

    def _remember(self, stream_id: int, by_us: bool) -> None:
        self._ended[stream_id] = by_us
        if len(self._ended) > _REMEMBERED_STREAMS:
            del self._ended[next(iter(self._ended))]

    def _is_idle(self, stream_id: int) -> bool:
        if stream_id == 0:
            return True
        ours = bool(stream_id % 2) == self.client
        return stream_id > (self._last_local_id if ours else self._last_remote_id)

    def _reply(self, reply: bytes) -> None:
        self.unsent_replies += 1
        if self.unsent_replies > self._limits.unsent_replies:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the peer asks for answers and does not read them")
        self._out.append(reply)

    def _spend(self) -> None:
        if not self._cheap.take():
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")

    def _fault(self, fault: StreamFault) -> None:
        self.streams.pop(fault.stream_id, None)
        self._remember(fault.stream_id, by_us=True)
        self._reply(frames.rst_stream(fault.stream_id, fault.code))
        self._events.append(events.StreamEnded(fault.stream_id, fault.code, str(fault), False))

    def _fail(self, code: ErrorCode, message: str) -> None:
        self.failed = True
        if not self.goaway_sent:
            self.shutdown(code, message)
        self._events.append(events.ConnectionFailed(code, message))


def _strip_padding(flags: int, payload: bytes) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame")
    return payload[1 : len(payload) - payload[0]]
