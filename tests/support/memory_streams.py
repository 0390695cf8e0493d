"""Two ends of a message stream in memory, moved by hand: messages arrive when the test says so.

Owns the path between two tunnels, and an event loop whose clock moves only when a test moves it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from konnectivity.grpc.message_stream import Buffer, MessageStream, Peer, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import OK, Code, Status

CONGESTED_AT = 128 * 1024  # bytes under way


class MemoryStream(MessageStream):
    """One end of a stream. Sent messages wait in the other end's `inbox` until that end calls `deliver`."""

    heard_at: float | None = None  # set by a test that is about silence

    def __init__(self, name: str) -> None:
        self.peer = Peer(name)
        self.metadata = Metadata(())
        self.path = "/memory"
        self.receiver: StreamReceiver | None = None
        self.other: MemoryStream = self
        self.inbox: deque[bytes] = deque()
        self.inbox_bytes = 0
        self.held = False
        self.closed = False
        self._paused = False

    @property
    def congested(self) -> bool:
        return not self.closed and self.other.inbox_bytes >= CONGESTED_AT

    def accept(self, metadata: dict[str, str]) -> None:
        return

    def send(self, head: bytes, body: Buffer = b"") -> None:
        if not self.closed:
            message = head + bytes(body)
            self.other.inbox.append(message)
            self.other.inbox_bytes += len(message)
            if self.congested and not self._paused:
                self._paused = True
                if self.receiver is not None:
                    self.receiver.pause_writing()

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def widen(self, size: int) -> None:
        return

    def finish(self, status: Status = OK) -> None:
        self._end(status)

    def abort(self, message: str = "") -> None:
        self._end(Status(Code.CANCELLED, message))

    def deliver(self, messages: int = 1 << 30) -> int:
        """Hand up to `messages` messages to the receiver and return their number; none while the stream is held."""
        done = 0
        while done < messages and self.inbox and not self.held and not self.closed:
            message = self.inbox.popleft()
            self.inbox_bytes -= len(message)
            done += 1
            if self.receiver is not None:
                self.receiver.message_received(memoryview(message))
            self.other.tell_resumed()
        return done

    def tell_resumed(self) -> None:
        """Let the receiver send again, if it was paused and the other end has taken enough."""
        if self._paused and not self.congested and self.receiver is not None and not self.closed:
            self._paused = False
            self.receiver.resume_writing()

    def _end(self, status: Status) -> None:
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                if end.receiver is not None:
                    end.receiver.stream_closed(status)


def stream_pair() -> tuple[MemoryStream, MemoryStream]:
    """Return both ends of a stream."""
    left, right = MemoryStream("left"), MemoryStream("right")
    left.other, right.other = right, left
    return left, right


class StillLoop(asyncio.SelectorEventLoop):
    """Event loop whose time moves only by `advance`."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    async def advance(self, seconds: float) -> None:
        """Advance the clock and run the timers that are due."""
        self._now += seconds
        for _ in range(3):
            await asyncio.sleep(0)
