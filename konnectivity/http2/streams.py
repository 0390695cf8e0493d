"""Table of the open streams of a connection, and memory of recently closed ones (RFC 9113 section 5.1)."""

from __future__ import annotations

from konnectivity.http2.frames import MAX_STREAM_ID
from konnectivity.http2.stream_state import Http2Stream

_REMEMBERED = 256  # closed streams whose end is remembered


class StreamTable:
    """Owner of the stream ids of both sides. `open` has every stream that is neither idle nor closed."""

    __slots__ = ("_client", "_ended", "last_local", "last_remote", "open")

    def __init__(self, client: bool) -> None:
        self.open: dict[int, Http2Stream] = {}
        self.last_local = -1 if client else 0
        self.last_remote = 0
        self._client = client
        self._ended: dict[int, bool] = {}  # by id of a recently closed stream: whether this side reset it

    def next_local_id(self) -> int:
        """Return the id of a client's next stream.

        Raises:
            ConnectionError: all ids have been used.

        """
        if self.last_local + 2 > MAX_STREAM_ID:
            raise ConnectionError("the HTTP/2 connection has used all stream ids")
        self.last_local += 2
        return self.last_local

    def is_idle(self, stream_id: int) -> bool:
        """Return whether a stream was never opened. Stream 0 counts as idle: no frame of a stream may name it."""
        if stream_id == 0:
            return True
        ours = bool(stream_id % 2) == self._client
        return stream_id > (self.last_local if ours else self.last_remote)

    def reset_by_us(self, stream_id: int) -> bool | None:
        """Return whether this side reset a closed stream, of which the peer may not know yet; None if forgotten."""
        return self._ended.get(stream_id)

    def close(self, stream_id: int, by_us: bool) -> None:
        """Close a stream at once, or record one that this side refused; nothing more is sent on it."""
        stream = self.open.pop(stream_id, None)
        if stream is not None:
            stream.local_closed = stream.remote_closed = True
            stream.queue.clear()
            stream.queued = 0
            stream.trailers = None
        self._remember(stream_id, by_us)

    def close_if_done(self, stream: Http2Stream) -> None:
        """Close a stream if both halves are closed and everything is sent."""
        if stream.local_closed and stream.remote_closed and not stream.queued:
            del self.open[stream.id]
            self._remember(stream.id, by_us=False)

    def _remember(self, stream_id: int, by_us: bool) -> None:
        self._ended[stream_id] = by_us
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
