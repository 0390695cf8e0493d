"""State of one HTTP/2 stream (RFC 9113 section 5.1): its two halves, its two windows, and what waits for the window."""

from __future__ import annotations

from collections import deque

from konnectivity.http2.events import HeaderList

Buffer = bytes | memoryview


class Http2Stream:
    """Plain record, changed only by `Http2Connection` and what it is made of.

    A stream is in the connection's table while it is open or half-closed; "idle" and "closed" are told apart by its id.
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
        self.send_window = send_window  # what we may still send; negative after a smaller SETTINGS
        self.receive_window = receive_window  # what the peer may still send
        self.unreturned = 0  # acknowledged, not yet announced by WINDOW_UPDATE
        self.window = receive_window  # the two above, and what is here but not acknowledged
        self.headers_received = False
        self.answered = False  # we sent headers
        self.remote_closed = False  # END_STREAM received
        self.local_closed = False  # END_STREAM sent or queued, or the stream was reset
        self.queue: deque[Buffer] = deque()  # data behind the window; no piece is empty
        self.queued = 0  # its bytes
        self.trailers: HeaderList | None = None  # end the stream, behind the queue; empty: without a header block
        self.expected: int | None = None  # content-length
        self.received = 0
