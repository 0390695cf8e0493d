"""One HTTP/2 connection, either role (RFC 9113): its beginning, its verbs, its end.

`receive(bytes)` returns events; verbs queue bytes that `take()` hands out. Nothing here waits, logs or looks at a clock
of its own. After `ConnectionFailed` the connection is finished: write what `take()` returns and close the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from konnectivity.http2 import events, frames
from konnectivity.http2.abuse_limits import Limits
from konnectivity.http2.frame_reader import FrameReader
from konnectivity.http2.frames import ErrorCode, Http2Error
from konnectivity.http2.inbound import Inbound
from konnectivity.http2.outbound import Outbound
from konnectivity.http2.settings import Settings
from konnectivity.http2.stream_state import Buffer
from konnectivity.http2.streams import StreamTable

_HTTP1_REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/1\.")
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
        reached: counts, by name, how often which limit was reached.
        grown_window: bytes to which the window of a stream grows when what came first was consumed; 0: it stays.

    """

    def __init__(
        self,
        client: bool,
        settings: Settings,
        connection_window: int = frames.MAX_WINDOW,
        limits: Limits | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        reached: Counter[str] | None = None,
        grown_window: int = 0,
    ) -> None:
        self.client = client
        self.local = settings
        self.failed = False
        self.unread = False  # the last `receive` ended early since its frames cost much; `receive(b"")` goes on
        self._table = StreamTable(client)
        self._outbound = Outbound(self._table)
        self._inbound = Inbound(
            client, settings, self._table, self._outbound, connection_window, limits, clock, reached, grown_window
        )
        self._reader = FrameReader(self._inbound, settings.max_frame_size)
        self._last_processed: int | None = None  # as our GOAWAY said
        self._preface = b"" if client else frames.PREFACE  # what of it is still to come
        self.streams = self._table.open
        self.remote = self._outbound.remote
        # Themselves, not wrapped: they are called for every message.
        self.send_data = self._outbound.send_data
        self.consumed = self._inbound.consumed
        self._out = self._outbound.out
        if client:
            self._out.append(frames.PREFACE)
            self._greet()

    @property
    def goaway_sent(self) -> bool:
        return self._last_processed is not None

    @property
    def goaway_received(self) -> bool:
        return self._inbound.goaway_received

    def replies_written(self) -> None:
        """Record that the peer's socket has taken all answers given so far."""
        self._inbound.costs.replies_written()

    @property
    def overdue_s(self) -> float:
        """Return for how many seconds nothing more should be read, because the peer sent a flood of cheap frames."""
        return self._inbound.costs.overdue_s

    def limit_queues(self, size: int) -> None:
        """Let `take_overfull` name the streams on which more than `size` bytes wait for the peer's window."""
        self._outbound.most_queued = size

    def take_overfull(self) -> list[int]:
        """Return the ids of the streams on which too much waits, and forget them."""
        overfull = self._outbound.overfull[:]
        self._outbound.overfull.clear()
        return overfull

    # ---- bytes in, bytes out --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[events.Event]:
        """Take bytes from the line, in any cut, and return what they mean; see `unread`."""
        if self.failed:
            return []
        received: list[events.Event] = []
        self._inbound.events = received
        try:
            if self._preface:
                data = self._check_preface(data)
            self.unread = self._reader.feed(data)
        except Http2Error as fault:
            self._send_goaway(fault.code, str(fault))
            self._fail(fault.code, str(fault))
        self._inbound.events = []  # what a connection has said once must not be held until it says more
        return received

    def take(self) -> list[Buffer]:
        """All bytes to write, in order; forgets them."""
        taken = self._outbound.take()
        self._inbound.costs.sent(len(taken))
        return taken

    @property
    def queued(self) -> int:
        """What waits for the peer's windows, on all streams: bytes, and `PIECE` for each piece they are in."""
        return self._outbound.queued

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    # ---- verbs (and `send_data`, see `Outbound`, and `consumed`, see `Inbound`) ------------------------------------

    def open_stream(self, headers: Iterable[tuple[str, str]]) -> int:
        """Client: send a request's headers; return the new stream's id.

        Raises:
            ConnectionError: the connection is closing, or the peer takes no more streams now.

        """
        if self.failed or self.goaway_received or self.goaway_sent:
            raise ConnectionError("the HTTP/2 connection is closing")
        if len(self.streams) >= self.remote.max_concurrent_streams:
            raise ConnectionError(f"the peer takes no more than {self.remote.max_concurrent_streams} streams")
        stream = self._inbound.add_stream(self._table.next_local_id())
        self._outbound.send_headers(stream, list(headers))
        return stream.id

    def send_headers(self, stream_id: int, headers: Iterable[tuple[str, str]], end_stream: bool = False) -> None:
        """Server: a response's headers, before its data; or (with `end_stream`) trailers, behind queued data."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_closed:
            return
        if end_stream:
            self._outbound.end(stream, list(headers))
        else:
            self._outbound.send_headers(stream, list(headers))

    def end_stream(self, stream_id: int) -> None:
        """Half-close our side with an empty DATA frame, behind queued data."""
        self.send_headers(stream_id, (), end_stream=True)

    def reset_stream(self, stream_id: int, code: int = ErrorCode.CANCEL) -> None:
        """Abandon a stream; what was queued on it is dropped."""
        if stream_id in self.streams:
            self._outbound.reset(stream_id, code)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """`size` bytes of the stream were consumed: the peer may send as many again."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.consumed(stream, size)

    def grow_window(self, stream_id: int, size: int) -> None:
        """Let the peer have `size` bytes more under way on this stream than it could."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return
        size = min(size, frames.MAX_WINDOW - stream.window)
        if size > 0:
            self._out.append(frames.window_update(stream_id, size))
            stream.receive_window += size
            stream.window += size

    def ping(self, payload: bytes) -> None:
        """Send PING; `payload` is 8 bytes and comes back in `PingAcknowledged`."""
        self._out.append(frames.frame(frames.PING, 0, 0, payload))

    def shutdown(self, code: int = ErrorCode.NO_ERROR, debug: str = "") -> None:
        """Send GOAWAY: no new streams; those open go on (RFC 9113 section 6.8)."""
        if not self.goaway_sent:
            self._send_goaway(code, debug)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """Our half of the connection preface."""
        self._out.append(frames.settings(self.local.changes()))
        extra = self._inbound.connection_window - frames.DEFAULT_WINDOW
        if extra:
            self._out.append(frames.window_update(0, extra))

    def _check_preface(self, data: bytes) -> bytes:
        """Server: what follows the client's preface. We greet behind it: whoever sends none gets no binary answer."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            if len(self._preface) == len(frames.PREFACE) and _HTTP1_REQUEST.match(data):
                self._out.append(_HTTP1_ANSWER)
            self._fail(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client: bad connection preface")
            return b""
        self._preface = self._preface[size:]
        if not self._preface:
            self._greet()
        return data[size:]

    def _send_goaway(self, code: int, debug: str) -> None:
        if self._last_processed is None:  # a later GOAWAY must not say more than the first
            self._last_processed = self._table.last_remote
            self._inbound.refusing = True
        self._out.append(frames.goaway(self._last_processed, code, debug.encode("utf-8", "replace")[:256]))

    def _fail(self, code: int, message: str) -> None:
        self.failed = True
        self.unread = False
        self._inbound.events.append(events.ConnectionFailed(code, message))
