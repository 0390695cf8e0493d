"""Sending half of a connection: the frames to write, within the peer's windows, and header compression.

Owns the peer's SETTINGS (RFC 9113 section 6.5) and the sending half of flow control (section 5.2).
"""

from __future__ import annotations

from collections import OrderedDict

from konnectivity.http2 import frames
from konnectivity.http2.abuse_limits import PeerCosts
from konnectivity.http2.events import HeaderList
from konnectivity.http2.frames import ConnectionFault, ErrorCode, StreamFault
from konnectivity.http2.header_encoder import HeaderEncoder
from konnectivity.http2.settings import HEADER_TABLE_SIZE, Settings
from konnectivity.http2.stream_state import Buffer, Http2Stream
from konnectivity.http2.streams import StreamTable

PIECE = 100  # bytes of memory, roughly, that a piece in a queue takes in addition to its content


class Outbound:
    """Frames of one connection, in the order in which they must be written.

    Methods that open a window return the streams whose whole queue was sent because of that.

    Args:
        table: streams of the connection.
        costs: budget of the peer; each piece that is sent allows the peer one WINDOW_UPDATE.

    Attributes:
        out: frames and parts of frames to write; `Http2Connection` and `Inbound` append control frames.
        remote: the peer's SETTINGS.
        queued: bytes that wait for window on all streams, and `PIECE` for each piece.
        most_queued: bytes that may wait on one stream before it is in `overfull`.
        overfull: ids of streams on which more waits.
        window: bytes that this side may still send on all streams together.

    """

    __slots__ = (
        "_blocked",
        "_costs",
        "_encoder",
        "_open",
        "_open_at",
        "_open_end",
        "_open_size",
        "_table",
        "most_queued",
        "out",
        "overfull",
        "queued",
        "remote",
        "window",
    )

    def __init__(self, table: StreamTable, costs: PeerCosts) -> None:
        self.out: list[Buffer] = []
        self.remote = Settings()
        self.queued = 0
        self.most_queued = frames.MAX_WINDOW
        self.overfull: list[int] = []
        self.window = frames.DEFAULT_WINDOW
        self._table = table
        self._costs = costs
        self._blocked: OrderedDict[int, Http2Stream] = (
            OrderedDict()
        )  # streams that wait for the connection's window, not their own
        self._encoder = HeaderEncoder()
        self._open: Http2Stream | None = None  # stream of the last DATA frame, which may still grow
        self._open_at = 0  # index in `out` of the header of that frame
        self._open_end = 0  # length of `out` after that frame: if `out` is longer, the frame is not the last one
        self._open_size = 0  # bytes of payload in that frame

    def take(self) -> list[Buffer]:
        """Return all frames to write, in order, and forget them."""
        out = self.out
        stream = self._open
        if stream is not None:  # `_seal`, inlined: it saves a call for each write
            size = self._open_size
            out[self._open_at] = frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id)
            self._open = None
        taken = out[:]
        out.clear()
        self._costs.sent(len(taken))
        return taken

    # ---- what a stream sends --------------------------------------------------------------------------------------

    def send_data(self, stream: Http2Stream, head: bytes, body: Buffer = b"") -> None:
        """Send `head` and then `body`; bytes that the windows do not allow yet are queued (see `Http2Stream.queued`).

        Consecutive data of one stream leaves in one frame: a frame costs its receiver more than a small message.
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
        """Send the headers that open this side's half of a stream."""
        stream.answered = True
        self._write_headers(stream.id, headers, end_stream=False)

    def end(self, stream: Http2Stream, trailers: HeaderList) -> None:
        """Close this side's half of a stream behind its queue, with trailers if there are any."""
        stream.local_closed = stream.answered = True
        # Trailers are encoded only when they are sent: the size of the table is announced in the order of sending.
        stream.trailers = trailers
        if not stream.queued:
            self._write_end(stream)

    def reset(self, stream_id: int, code: int) -> None:
        """Close a stream with RST_STREAM (section 6.4)."""
        self.close(stream_id, by_us=True)
        self.out.append(frames.rst_stream(stream_id, code))

    def close(self, stream_id: int, by_us: bool) -> None:
        """Close a stream at once and drop its queue; `by_us` tells whether this side reset it."""
        self._blocked.pop(stream_id, None)
        stream = self._table.open.get(stream_id)
        if stream is not None:
            self.queued -= stream.queued + PIECE * len(stream.queue)
        self._table.close(stream_id, by_us)

    # ---- what the peer allows -------------------------------------------------------------------------------------

    def apply_settings(self, payload: bytes) -> None:
        """Apply the peer's SETTINGS. Data that they allow to send is sent by `resume`, behind the ack.

        Raises:
            ConnectionFault: a value is out of range, or a window exceeds the maximum (section 6.9.2).

        """
        remote = self.remote
        before = remote.initial_window_size
        for key, value in frames.SETTING.iter_unpack(payload):
            remote.apply(key, value)
            if key == HEADER_TABLE_SIZE:
                self._encoder.limit_table(value)
        # The windows move once, however often one frame names them: else a peer could make one frame cost much work.
        delta = remote.initial_window_size - before
        if delta:
            for stream in self._table.open.values():
                stream.send_window += delta
                if stream.send_window > frames.MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS moves a window over the maximum")

    def resume(self) -> list[Http2Stream]:
        """Send what the windows now allow on all streams."""
        waiting = [stream for stream in self._table.open.values() if stream.queued]
        return [stream for stream in waiting if self._pump(stream)]

    def widen(self, increment: int) -> list[Http2Stream]:
        """Apply a WINDOW_UPDATE of the connection (section 6.9)."""
        if self.window + increment > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"WINDOW_UPDATE by {increment} on the connection")
        self.window += increment
        drained = []
        while self._blocked and self.window > 0:  # streams that stay blocked move to the end, so they take turns
            _, stream = self._blocked.popitem(last=False)
            if self._pump(stream):
                drained.append(stream)
        return drained

    def widen_stream(self, stream: Http2Stream, increment: int) -> list[Http2Stream]:
        """Apply a WINDOW_UPDATE of one stream (section 6.9)."""
        if stream.send_window + increment > frames.MAX_WINDOW:
            raise StreamFault(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE over the maximum")
        stream.send_window += increment
        return [stream] if stream.queued and self._pump(stream) else []

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _seal(self, stream: Http2Stream) -> None:
        """Write the header of the last DATA frame, which then grows no more."""
        size = self._open_size
        self.out[self._open_at] = frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, 0, stream.id)
        self._open = None

    def _pump(self, stream: Http2Stream) -> bool:
        """Send as much of a stream's queue as the windows allow; return whether that is all of it."""
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
        """Write the trailers, or an empty DATA frame, that end this side's half of a stream."""
        if stream.trailers:
            self._write_headers(stream.id, stream.trailers, end_stream=True)
        else:
            self.out.append(frames.frame(frames.DATA, frames.END_STREAM, stream.id))
        stream.trailers = None
        self._table.close_if_done(stream)

    def _write_headers(self, stream_id: int, headers: HeaderList, end_stream: bool) -> None:
        block = self._encoder.encode(headers)
        self.out += frames.header_block(stream_id, block, end_stream, self.remote.max_frame_size)
