"""Output of one HTTP/2 connection: everything that calls send in one pass of the event loop leaves in one write.

One write is one TLS record run and one system call. The writer owns the time of the write, the congestion of the
socket, and the limits on output that the peer does not read. It does not know gRPC, nor what is received.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from konnectivity.grpc.budgets.reading_pause import ReadingPause
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import ErrorCode, Http2Connection
from konnectivity.http2.stream_state import Buffer, Http2Stream

HIGH_WATER: Final = 128 * 1024  # bytes not taken by the kernel from which on calls are congested
LOW_WATER: Final = 32 * 1024  # bytes not taken by the kernel below which calls are not congested any more
UNREAD = "the peer does not read what it is sent"


class WriterOwner(Protocol):
    """Owner of the connection whose output is written."""

    def output_refused(self, stream_id: int) -> None:
        """End the call of a stream that was reset, because the peer does not take its output."""

    def abort(self, reason: str) -> None:
        """Drop the connection now."""


class PausedCall(Protocol):
    """Call whose receiver was told that data should wait."""

    @property
    def congested(self) -> bool:
        """Return whether data should still wait."""

    def resume(self) -> None:
        """Send data again."""


class Http2Writer:
    """Writer of one HTTP/2 connection.

    Attributes:
        blocked: whether calls should wait, because the socket takes no more.
        written: bytes of messages written so far.

    Args:
        http2: connection whose frames are written.
        transport: socket that is written to.
        pause: pauses in the reading of a peer that is slowed down; None: a peer that does not read is cut.
        options: limits on unread output.
        loop: event loop of the connection.
        owner: owner of the connection.

    """

    __slots__ = (
        "_flush_scheduled",
        "_loop",
        "_noted",
        "_options",
        "_owner",
        "_pause",
        "_paused",
        "_send_data",
        "_transport",
        "_unflushed",
        "_write_paused",
        "blocked",
        "http2",
        "written",
    )

    def __init__(
        self,
        http2: Http2Connection,
        transport: asyncio.Transport,
        pause: ReadingPause | None,
        options: TransportOptions,
        loop: asyncio.AbstractEventLoop,
        owner: WriterOwner,
    ) -> None:
        self.http2 = http2
        self.blocked = False
        self.written = 0
        self._options = options
        self._loop = loop
        self._owner: WriterOwner | None = owner
        self._send_data = http2.send_data
        self._transport: asyncio.Transport | None = transport
        self._pause = pause
        self._paused: dict[int, PausedCall] = {}  # paused calls by stream id
        self._unflushed = 0  # bytes of messages since the last flush
        self._flush_scheduled = False
        self._write_paused = False
        self._noted = False  # whether this writer is counted in the budget for unread output

        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        if pause is not None:
            http2.limit_queues(options.unsent_bytes)

    def close(self) -> None:
        """Write nothing more: the transport is closed. References to the owner of the connection are dropped."""
        self._transport = self._pause = self._owner = None
        self.blocked = False
        self._paused.clear()
        self._forget_unsent()

    # ---- frames of calls ------------------------------------------------------------------------------------------

    def send(self, stream: Http2Stream, head: bytes, body: Buffer = b"") -> None:
        """Send `head` and `body` on a stream."""
        self._send_data(stream, head, body)
        self._unflushed += len(head) + len(body)
        if self._unflushed >= HIGH_WATER:
            self.blocked = True
        if not self._flush_scheduled:
            self.flush_soon()

    def send_headers(self, stream_id: int, headers: list[tuple[str, str]], end_stream: bool = False) -> None:
        """Send a header block; with `end_stream` as trailers, behind the data that is queued."""
        self.http2.send_headers(stream_id, headers, end_stream)
        self.flush_soon()

    def end_stream(self, stream_id: int) -> None:
        """Close this side of a stream, behind the data that is queued."""
        self.http2.end_stream(stream_id)
        self.flush_soon()

    def reset_stream(self, stream_id: int, code: ErrorCode) -> None:
        """Abandon a stream and what is queued on it."""
        self.http2.reset_stream(stream_id, code)
        self.flush_soon()

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Return `size` bytes of window on a stream."""
        self.http2.acknowledge(stream_id, size)
        self.flush_output()

    def grow_window(self, stream_id: int, size: int) -> None:
        """Let the peer have `size` more bytes under way on a stream."""
        self.http2.grow_window(stream_id, size)
        self.flush_soon()

    # ---- frames of the connection ---------------------------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Send PING with 8 bytes of payload."""
        self.http2.ping(payload)
        self.flush_soon()

    def go_away(self, reason: str) -> None:
        """Send GOAWAY: no new streams, and the open ones continue."""
        self.http2.shutdown(ErrorCode.NO_ERROR, reason)
        self.flush_soon()

    # ---- writing --------------------------------------------------------------------------------------------------

    def flush_output(self) -> None:
        """Write at the end of this pass of the event loop, if there is anything to write."""
        if not self._flush_scheduled and self.http2.output:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Write at the end of this pass of the event loop."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write all frames now."""
        self._flush_scheduled = False
        self.written += self._unflushed
        self._unflushed = 0
        http2 = self.http2
        out = http2.take()
        transport = self._transport
        if out and transport is not None:
            transport.write(b"".join(out) if len(out) > 1 else out[0])
        if not self._write_paused:
            if http2.costs.unsent_replies:
                http2.costs.replies_written()
            if self.blocked:
                self._unblock()
        if self._write_paused or http2.outbound.queued:
            self._check_unsent()
        elif self._noted:
            self._forget_unsent()

    def pause(self) -> None:
        """Keep calls waiting: the socket takes no more."""
        self._write_paused = True
        self.blocked = True

    def resume(self) -> None:
        """Let calls send again: the socket has taken what was written."""
        self._write_paused = False
        if self._pause is not None:
            self._pause.drained()
        self._forget_unsent()
        self._unblock()

    # ---- congestion -----------------------------------------------------------------------------------------------

    def call_paused(self, stream_id: int, call: PausedCall) -> None:
        """Resume a call when its congestion is over."""
        self._paused[stream_id] = call

    def forget(self, stream_id: int) -> None:
        """Forget the call of a stream."""
        self._paused.pop(stream_id, None)

    def stream_drained(self, stream_id: int) -> None:
        """Resume the call of a stream whose queue was sent, if nothing else is in its way."""
        call = self._paused.get(stream_id)
        if call is not None and not call.congested:
            del self._paused[stream_id]
            call.resume()

    def _unblock(self) -> None:
        self.blocked = False
        for stream_id, call in list(self._paused.items()):
            if not call.congested and self._paused.pop(stream_id, None) is call:
                call.resume()

    # ---- output that the peer does not read -----------------------------------------------------------------------

    def cut_unread(self) -> None:
        """Drop output that waits: of all connections whose peers do not read, this one has the most.

        A connection that many users share loses the streams with the most, until half of its output is gone; any other
        connection is cut.
        """
        if self._pause is None:
            self._options.reached["unsent_total"] += 1
            self._forget_unsent()
            self._abort()
            return
        enough = self.http2.queued // 2
        if not enough:
            return
        for stream in sorted(self.http2.streams.values(), key=lambda each: each.queued, reverse=True):
            if self.http2.queued <= enough:
                break
            self._refuse_output(stream.id, "unsent_total")
        if self._options.unsent is not None:
            self._options.unsent.note(self, self.http2.queued)

    def _check_unsent(self) -> None:
        """Keep what waits within its limits: a peer that makes this side answer and never reads is cut."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        waiting = self.http2.queued
        if self._pause is not None:
            self._pause.written()
            for stream_id in self.http2.take_overfull():
                self._refuse_output(stream_id, "unsent_bytes")
        else:
            waiting += transport.get_write_buffer_size()
            if waiting > self._options.unsent_bytes:
                self._options.reached["unsent_bytes"] += 1
                self._abort()
                return
        if self._options.unsent is not None:
            self._noted = True
            most = self._options.unsent.note(self, waiting)
            if most is not None:
                most.cut_unread()

    def _refuse_output(self, stream_id: int, limit: str) -> None:
        if stream_id in self.http2.streams:
            self._options.reached[limit] += 1
            self.reset_stream(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            if self._owner is not None:
                self._owner.output_refused(stream_id)

    def _abort(self) -> None:
        if self._owner is not None:
            self._owner.abort(UNREAD)

    def _forget_unsent(self) -> None:
        if self._noted and self._options.unsent is not None:
            self._noted = False
            self._options.unsent.forget(self)
