"""HTTP/2 connection, in either role (RFC 9113): its preface, its verbs and its end.

`receive(bytes)` returns events; verbs queue bytes that `take()` returns. Nothing here waits, logs or has a clock of its
own. `ConnectionFailed` is the last event: then write what `take()` returns, and close the socket.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

from konnectivity.http2 import events, frames
from konnectivity.http2.abuse_limits import Limits, PeerCosts
from konnectivity.http2.frame_reader import FrameReader
from konnectivity.http2.frames import ErrorCode, Http2Error
from konnectivity.http2.inbound import Inbound
from konnectivity.http2.outbound import Outbound
from konnectivity.http2.settings import Settings
from konnectivity.http2.streams import StreamTable

_HTTP1_REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/1\.")
_HTTP1_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"this port speaks gRPC over HTTP/2, not HTTP/1\n"
)


@lru_cache(16)  # all connections of one listener begin with the same frames
def _greeting(values: tuple[int, ...], window: int) -> bytes:
    """Return the first frames of a side with these values of `Settings` and this window of the connection."""
    extra = window - frames.DEFAULT_WINDOW
    return frames.settings(Settings(*values).changes()) + (frames.window_update(0, extra) if extra else b"")


class Http2Connection:
    """Local side of one HTTP/2 connection.

    Attributes:
        client: whether this side is the client.
        local: SETTINGS of this side.
        remote: SETTINGS of the peer.
        failed: whether the connection has ended for a fault of the peer.
        unread: whether the last `receive` ended early because its frames cost much; `receive(b"")` continues.
        streams: open streams, by id.
        send_data: see `Outbound.send_data`.
        take: see `Outbound.take`.
        outbound: sending half.
        costs: budget of the peer.
        output: frames to write; empty if there are none.
        consumed: see `Inbound.consumed`.

    Args:
        client: whether this side is the client.
        settings: SETTINGS of this side.
        connection_window: bytes that the peer may send on all streams together before window is returned.
        limits: limits on what the peer may cost.
        clock: source of monotonic seconds, asked only when a flood is suspected.
        reached: counter of reached limits, by name.
        grown_window: bytes to which the window of a stream grows once the first window was consumed; 0: it keeps its
            size.

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
        self.unread = False
        self._table = StreamTable(client)
        limits = limits or Limits()
        self.costs = PeerCosts(limits, clock, reached)
        self.outbound = Outbound(self._table, self.costs)
        self._inbound = Inbound(
            client, settings, self._table, self.outbound, connection_window, limits, self.costs, grown_window
        )
        self._reader = FrameReader(self._inbound, settings.max_frame_size)
        self._last_processed: int | None = None  # last stream id in the GOAWAY of this side
        self._preface = b"" if client else frames.PREFACE  # part of the preface that has not arrived yet
        self.streams = self._table.open
        self.remote = self.outbound.remote
        # Not wrapped in methods, because they are called for every message.
        self.send_data = self.outbound.send_data
        self.take = self.outbound.take
        self.consumed = self._inbound.consumed
        self.output = self.outbound.out
        if client:
            self.output.append(frames.PREFACE)
            self._greet()

    @property
    def goaway_sent(self) -> bool:
        """Return whether this side has sent GOAWAY."""
        return self._last_processed is not None

    @property
    def goaway_received(self) -> bool:
        """Return whether the peer has sent GOAWAY."""
        return self._inbound.goaway_received

    def limit_queues(self, size: int) -> None:
        """Let `take_overfull` name the streams on which more than `size` bytes wait for the peer's window."""
        self.outbound.most_queued = size

    def take_overfull(self) -> list[int]:
        """Return the ids of the streams on which too much waits, and forget them."""
        overfull = self.outbound.overfull[:]
        self.outbound.overfull.clear()
        return overfull

    # ---- bytes in, bytes out --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[events.Event]:
        """Return the events of bytes from the peer, which may be cut anywhere; see `unread`."""
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
        self._inbound.events = []  # drop the events now: otherwise they stay until the peer sends more
        return received

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer's windows on all streams, and `PIECE` for each piece that they are in."""
        return self.outbound.queued

    # ---- verbs (and `send_data`, see `Outbound`, and `consumed`, see `Inbound`) ------------------------------------

    def open_stream(self, headers: Iterable[tuple[str, str]]) -> int:
        """Send the headers of a client's request; return the id of the new stream.

        Raises:
            ConnectionError: the connection is closing, or the peer takes no more streams now.

        """
        if self.failed or self.goaway_received or self.goaway_sent:
            raise ConnectionError("the HTTP/2 connection is closing")
        if len(self.streams) >= self.remote.max_concurrent_streams:
            raise ConnectionError(f"the peer takes no more than {self.remote.max_concurrent_streams} streams")
        stream = self._inbound.add_stream(self._table.next_local_id())
        self.outbound.send_headers(stream, list(headers))
        return stream.id

    def send_headers(self, stream_id: int, headers: Iterable[tuple[str, str]], end_stream: bool = False) -> None:
        """Send the headers of a server's response, or with `end_stream` trailers, behind the queued data."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.local_closed:
            return
        if end_stream:
            self.outbound.end(stream, list(headers))
        else:
            self.outbound.send_headers(stream, list(headers))

    def end_stream(self, stream_id: int) -> None:
        """Close this side's half of a stream with an empty DATA frame, behind the queued data."""
        self.send_headers(stream_id, (), end_stream=True)

    def reset_stream(self, stream_id: int, code: int = ErrorCode.CANCEL) -> None:
        """Close a stream with RST_STREAM, and drop what is queued on it."""
        if stream_id in self.streams:
            self.outbound.reset(stream_id, code)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the peer send `size` more bytes on a stream, which were consumed."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.consumed(stream, size)

    def grow_window(self, stream_id: int, size: int) -> None:
        """Enlarge the window of a stream by `size` bytes."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return
        size = min(size, frames.MAX_WINDOW - stream.window)
        if size > 0:
            self.output.append(frames.window_update(stream_id, size))
            stream.receive_window += size
            stream.window += size

    def ping(self, payload: bytes) -> None:
        """Send PING; `payload` is 8 bytes and comes back in `PingAcknowledged`."""
        self.output.append(frames.frame(frames.PING, 0, 0, payload))

    def shutdown(self, code: int = ErrorCode.NO_ERROR, debug: str = "") -> None:
        """Send GOAWAY: no new streams, and the open ones continue (RFC 9113 section 6.8)."""
        if not self.goaway_sent:
            self._send_goaway(code, debug)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """Send this side's half of the connection preface: SETTINGS (section 3.4)."""
        local = self.local
        values = (
            local.header_table_size,
            local.enable_push,
            local.max_concurrent_streams,
            local.initial_window_size,
            local.max_frame_size,
            local.max_header_list_size,
        )
        self.output.append(_greeting(values, self._inbound.connection_window))

    def _check_preface(self, data: bytes) -> bytes:
        """Return what follows the client's preface; a client without one gets no binary answer."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            if len(self._preface) == len(frames.PREFACE) and _HTTP1_REQUEST.match(data):
                self.output.append(_HTTP1_ANSWER)
            self._fail(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client: bad connection preface")
            return b""
        self._preface = self._preface[size:]
        if not self._preface:
            self._greet()
        return data[size:]

    def _send_goaway(self, code: int, debug: str) -> None:
        if self._last_processed is None:  # a later GOAWAY must not allow more than the first (section 6.8)
            self._last_processed = self._table.last_remote
            self._inbound.refusing = True
        self.output.append(frames.goaway(self._last_processed, code, debug.encode("utf-8", "replace")[:256]))

    def _fail(self, code: int, message: str) -> None:
        self.failed = True
        self.unread = False
        self._inbound.events.append(events.ConnectionFailed(code, message))
