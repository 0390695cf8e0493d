"""Everything that leaves a connection: the frames to write, the windows they keep to, and header compression.

Owns the peer's SETTINGS (RFC 9113 section 6.5) and the sending half of flow control (section 5.2).
"""

from __future__ import annotations

from collections import OrderedDict

from hpack import Encoder

from konnectivity.http2 import frames
from konnectivity.http2.events import HeaderList
from konnectivity.http2.frames import ConnectionFault, ErrorCode, StreamFault
from konnectivity.http2.settings import HEADER_TABLE_SIZE, Settings
from konnectivity.http2.stream_state import Buffer, Http2Stream
from konnectivity.http2.streams import StreamTable

_TABLE_SIZE = 4096  # of our compressor, at most, and at first
PIECE = 100  # bytes that a piece in a queue takes beside its content, about


class Outbound:
    """Frames in the order in which they are to be written.

    The methods that open a window return the streams whose whole queue went out by that.
    """

    __slots__ = (
        "_blocked",
        "_encoder",
        "_open",
        "_open_at",
        "_open_end",
        "_open_size",
        "_smallest_table_size",
        "_table",
        "_table_size",
        "most_queued",
        "out",
        "overfull",
        "queued",
        "remote",
        "window",
    )

    def __init__(self, table: StreamTable) -> None:
        self.out: list[Buffer] = []  # one list for good: the connection appends its control frames to it
        self.remote = Settings()
        self.queued = 0  # on all streams: bytes, and `PIECE` for each piece
        self.most_queued = frames.MAX_WINDOW  # bytes that may wait on one stream before it is in `overfull`
        self.overfull: list[int] = []
        self.window = frames.DEFAULT_WINDOW  # what we may still send on all streams together
        self._table = table
        self._blocked: OrderedDict[int, Http2Stream] = OrderedDict()  # by the connection's window, not by their own
        self._encoder = Encoder()
        self._open: Http2Stream | None = None  # whose DATA frame in `out` has no header yet: more may be added to it
        self._open_at = 0  # where in `out` its header goes
        self._open_end = 0  # how long `out` was then: if it is longer, the frame is not the last one
        self._open_size = 0
        self._table_size = self._smallest_table_size = _TABLE_SIZE  # of the compressor

    def take(self) -> list[Buffer]:
        """All frames, in order; forgets them."""
        if self._open is not None:
            self._seal(self._open)
        taken = self.out[:]
        self.out.clear()
        return taken

    # ---- what a stream sends --------------------------------------------------------------------------------------

    def send_data(self, stream: Http2Stream, head: bytes, body: Buffer = b"") -> None:
        """Send `head` then `body`; what the windows do not allow yet is queued (see `Http2Stream.queued`).

        What is sent on one stream in a row leaves in one frame: a frame costs its receiver more than a small message.
        """
        if stream.local_closed:
            return
        size = len(head) + len(body)
        if size <= self.remote.max_frame_size and not (
            stream.queued or size > stream.send_window or size > self.window
        ):
            stream.send_window -= size
            self.window -= size
            out = self.out
            if (
                self._open is stream
                and self._open_end == len(out)
                and self._open_size + size <= self.remote.max_frame_size
            ):
                self._open_size += size
            else:
                if self._open is not None:
                    self._seal(self._open)
                self._open = stream
                self._open_at = len(out)
                self._open_size = size
                out.append(b"")
            out.append(head)
            if body:
                out.append(body)
            self._open_end = len(out)
        else:
            for piece in (head, body):
                if piece:
                    stream.queue.append(piece)
                    self.queued += len(piece) + PIECE
            stream.queued += size
            if not self._pump(stream) and stream.queued > self.most_queued:
                self.overfull.append(stream.id)

    def send_headers(self, stream: Http2Stream, headers: HeaderList) -> None:
        """Open a stream's sending half."""
        stream.answered = True
        self._write_headers(stream.id, headers, end_stream=False)

    def end(self, stream: Http2Stream, trailers: HeaderList) -> None:
        """Close a stream's sending half behind its queue: with trailers, or without any if there are none."""
        stream.local_closed = stream.answered = True
        # Trailers are compressed only when they go out: header blocks share one state, in the order of their sending.
        stream.trailers = trailers
        if not stream.queued:
            self._write_end(stream)

    def reset(self, stream_id: int, code: int) -> None:
        """RST_STREAM: close a stream from our side."""
        self.close(stream_id, by_us=True)
        self.out.append(frames.rst_stream(stream_id, code))

    def close(self, stream_id: int, by_us: bool) -> None:
        """Close a stream before its time; nothing more is sent on it."""
        self._blocked.pop(stream_id, None)
        stream = self._table.open.get(stream_id)
        if stream is not None:
            self.queued -= stream.queued + PIECE * len(stream.queue)
        self._table.close(stream_id, by_us)

    # ---- what the peer allows -------------------------------------------------------------------------------------

    def apply_settings(self, payload: bytes) -> None:
        """Take the peer's SETTINGS. What it allows to send is for `resume`, behind the ack.

        Raises:
            ConnectionFault: a value the RFC does not allow, or a window over the maximum.

        """
        remote = self.remote
        before = remote.initial_window_size
        for key, value in frames.SETTING.iter_unpack(payload):
            remote.apply(key, value)
            if key == HEADER_TABLE_SIZE:
                self._table_size = min(value, _TABLE_SIZE)
                self._smallest_table_size = min(self._smallest_table_size, self._table_size)
        # The windows move once, however often one frame names them: a peer could make it cost a lot.
        delta = remote.initial_window_size - before
        if delta:
            for stream in self._table.open.values():
                stream.send_window += delta
                if stream.send_window > frames.MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS moves a window over the maximum")

    def resume(self) -> list[Http2Stream]:
        """All streams may send more."""
        waiting = [stream for stream in self._table.open.values() if stream.queued]
        return [stream for stream in waiting if self._pump(stream)]

    def widen(self, increment: int) -> list[Http2Stream]:
        """WINDOW_UPDATE of the connection."""
        if self.window + increment > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"WINDOW_UPDATE by {increment} on the connection")
        self.window += increment
        drained = []
        while self._blocked and self.window > 0:  # those that stay blocked by it go to the end: they take turns
            _, stream = self._blocked.popitem(last=False)
            if self._pump(stream):
                drained.append(stream)
        return drained

    def widen_stream(self, stream: Http2Stream, increment: int) -> list[Http2Stream]:
        """WINDOW_UPDATE of one stream."""
        if stream.send_window + increment > frames.MAX_WINDOW:
            raise StreamFault(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE over the maximum")
        stream.send_window += increment
        return [stream] if stream.queued and self._pump(stream) else []

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _seal(self, stream: Http2Stream) -> None:
        """Nothing more is added to the DATA frame that is open."""
        size = self._open_size
        self.out[self._open_at] = frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id)
        self._open = None

    def _pump(self, stream: Http2Stream) -> bool:
        """Send what the windows allow of the stream's queue, in frames the peer takes; True if that is all of it."""
        queue = stream.queue
        largest = self.remote.max_frame_size
        while stream.queued:
            size = min(stream.queued, stream.send_window, self.window, largest)
            if size <= 0:
                if stream.send_window > 0:
                    self._blocked[stream.id] = stream
                else:
                    self._blocked.pop(stream.id, None)
                return False
            self.out.append(frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id))
            stream.send_window -= size
            self.window -= size
            stream.queued -= size
            self.queued -= size
            while size:
                piece = queue.popleft()
                self.queued -= PIECE
                if len(piece) > size:
                    view = memoryview(piece)
                    queue.appendleft(view[size:])
                    self.queued += PIECE
                    piece = view[:size]
                self.out.append(piece)
                size -= len(piece)
        self._blocked.pop(stream.id, None)
        if stream.trailers is not None:
            self._write_end(stream)
        return True

    def _write_end(self, stream: Http2Stream) -> None:
        if stream.trailers:
            self._write_headers(stream.id, stream.trailers, end_stream=True)
        else:
            self.out.append(frames.frame(frames.DATA, frames.END_STREAM, stream.id))
        stream.trailers = None
        self._table.close_if_done(stream)

    def _write_headers(self, stream_id: int, headers: HeaderList, end_stream: bool) -> None:
        # Of the sizes since the last block, the smallest and the last are announced (RFC 7541 section 4.2).
        for size in (self._smallest_table_size, self._table_size):
            if size != self._encoder.header_table_size:
                self._encoder.header_table_size = size
        self._smallest_table_size = self._table_size
        # The library's Huffman encoder takes time in the square of a value's length, and a value may be a peer's text.
        block = self._encoder.encode(headers, huffman=False)
        self.out += frames.header_block(stream_id, block, end_stream, self.remote.max_frame_size)
