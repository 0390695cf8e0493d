"""State of one HTTP/2 stream (RFC 9113 section 5.1): its two halves, its two windows, and its queue."""

from __future__ import annotations

from collections import deque

from konnectivity.http2.events import HeaderList

Buffer = bytes | memoryview


class Http2Stream:
    """Record of one stream, changed only by `Inbound`, `Outbound`, `StreamTable` and `Http2Connection`.

    A stream is in the table while it is open or half-closed; `StreamTable` tells "idle" from "closed" by the id.
    """

    __slots__ = (
        "answered",
        "expected",
        "headers_received",
        "id",
        "local_closed",
        "queue",
        "queued",
        "receive_window",
        "received",
        "remote_closed",
        "send_window",
        "trailers",
        "unreturned",
        "window",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window  # bytes that this side may still send; negative after a smaller SETTINGS
        self.receive_window = receive_window  # bytes that the peer may still send
        self.unreturned = 0  # bytes acknowledged but not yet announced by WINDOW_UPDATE
        self.window = receive_window  # the two above, and the bytes received but not acknowledged
        self.headers_received = False
        self.answered = False  # this side sent headers
        self.remote_closed = False  # END_STREAM was received
        self.local_closed = False  # END_STREAM was sent or queued, or the stream was reset
        self.queue: deque[Buffer] = deque()  # data that waits for window; no piece is empty
        self.queued = 0  # bytes in the queue
        self.trailers: HeaderList | None = None  # sent behind the queue; empty: END_STREAM without a header block
        self.expected: int | None = None  # content-length of the peer's message
        self.received = 0  # bytes of that message so far
