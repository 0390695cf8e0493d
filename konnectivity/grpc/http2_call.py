"""One call on an `Http2Transport`: messages in and out of an HTTP/2 stream, and its end. Owns no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc import status as statuses
from konnectivity.grpc.framing import PREFIX, MessageReader
from konnectivity.grpc.message_memory import SMALL_MESSAGE, MessageMemory
from konnectivity.grpc.message_stream import Buffer, MessageStream, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.read_scheduler import LONG_S
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.http2 import ErrorCode
from konnectivity.http2.stream_state import Http2Stream

if TYPE_CHECKING:
    from konnectivity.grpc.http2_transport import Http2Transport

MANY_MESSAGES = 64  # in one piece of DATA: from there on their delivery may be spread over several turns
_NOTHING = memoryview(b"")
HIGH_WATER = 128 * 1024  # bytes written but not taken by the kernel from which data waits in its own connection
_LOOK_AGAIN_S = 1.0  # for memory, which others than streams give back, too


class Http2Call(MessageStream):
    """One call on an `Http2Transport`."""

    def __init__(self, transport: Http2Transport, stream: Http2Stream, path: str, metadata: Metadata) -> None:
        self.peer = transport.peer
        self.path = path
        self.metadata = metadata
        self.receiver: StreamReceiver | None = None
        self.response: asyncio.Future[Metadata] | None = None  # client: set by the transport until headers are here
        self.deadline: asyncio.TimerHandle | None = None
        self.closed = False
        self._transport = transport
        self._stream = stream
        self._reader = MessageReader(transport.options.max_message_size)
        self.header_bytes = 0  # what the transport booked for `metadata`
        self._rest: tuple[Iterator[memoryview], int, bool] | None = None  # messages not delivered yet, credit, end
        self._incomplete = 0  # what the transport counts of a message that is not whole
        self._memory = transport.options.message_memory
        self._granted = False  # the message that is not whole has memory
        self._waiting: asyncio.TimerHandle | None = None  # for memory
        self._on_hold = False
        self._held: int | None = None  # consumed but not acknowledged while the stream is held, or waits for memory
        self._accepted = False
        self._finished = False
        self._paused = False  # the receiver is told that data should wait

    @property
    def round_trip_s(self) -> float | None:
        return self._transport.round_trip.last

    @property
    def least_round_trip_s(self) -> float | None:
        return self._transport.round_trip.least

    @property
    def heard_at(self) -> float | None:
        return self._transport.heard_at

    def measure(self, done: Callable[[float], object] | None = None) -> None:
        self._transport.ping(done)

    async def accepted(self) -> Metadata:
        return self.metadata if self.response is None else await self.response

    @property
    def congested(self) -> bool:
        """Whether data should wait."""
        return self._transport.blocked or self._stream.queued > 0

    def accept(self, metadata: dict[str, str]) -> None:
        if not self.closed and not self._accepted:
            self._accepted = True
            fields = [(name.lower(), value) for name, value in metadata.items()]
            self._transport.http2.send_headers(self._stream.id, call_metadata.RESPONSE + fields)
            self._transport.flush_soon()

    def send(self, head: bytes, body: Buffer = b"") -> None:
        if self.closed or self._finished:
            return
        size = len(head) + len(body)
        transport = self._transport
        transport.http2.send_data(self._stream, PREFIX.pack(0, size) + head, body)
        transport.unflushed += size
        if transport.unflushed >= HIGH_WATER:
            transport.blocked = True
        if (transport.blocked or self._stream.queued) and not self._paused:
            self._pause()
        if not transport.flush_scheduled:
            transport.flush_soon()

    def _pause(self) -> None:
        self._paused = True
        self._transport.paused[self._stream.id] = self
        if self.receiver is not None:
            self.receiver.pause_writing()

    def hold(self) -> None:
        self._on_hold = True
        if self._held is None:
            self._held = 0
        if self._memory is not None:
            self._leave_memory(self._memory)  # the rest of a message comes only when the hold is over

    def release(self) -> None:
        self._on_hold = False
        if self._memory is not None:
            for other in self._memory.grant():  # it was on hold because its data waited here
                other._memory_granted()
            self._ask_memory(self._memory)
        if self._waiting is None:
            self._return_held()

    def _return_held(self) -> None:
        held, self._held = self._held, None
        if held:
            self._transport.acknowledge(self._stream.id, held)

    def widen(self, size: int) -> None:
        self._transport.http2.grow_window(self._stream.id, size)
        self._transport.flush_soon()

    def finish(self, status: Status = statuses.OK) -> None:
        if self.closed or self._finished:
            return
        self._finished = True
        http2 = self._transport.http2
        if http2.client:
            http2.end_stream(self._stream.id)
            self._transport.flush_soon()
            return
        trailers = [("grpc-status", str(int(status.code)))]
        if status.message:
            trailers.append(("grpc-message", statuses.encode_message(status.message)))
        http2.send_headers(
            self._stream.id, trailers if self._accepted else call_metadata.RESPONSE + trailers, end_stream=True
        )
        if not self._stream.queue:
            # A complete answer, and nothing more is wanted from the client (RFC 9113 section 8.1).
            http2.reset_stream(self._stream.id, ErrorCode.NO_ERROR)
        self._transport.flush_soon()
        self.ended(status)

    def abort(self, message: str = "") -> None:
        if not self.closed:
            self._transport.http2.reset_stream(self._stream.id, ErrorCode.CANCEL)
            self._transport.flush_soon()
            self.ended(Status(Code.CANCELLED, message))

    # ---- called by the transport ----------------------------------------------------------------------------------

    def data_received(self, data: memoryview, credit: int, ends: bool) -> None:
        reader = self._reader
        receiver = self.receiver
        messages = reader.feed(data)
        if messages and self._memory is not None and (self._granted or self._waiting is not None):
            self._leave_memory(self._memory)
        if len(messages) > MANY_MESSAGES:
            self._rest = iter(messages), credit, ends
            self.deliver_rest()
            return
        for message in messages:
            if self.closed or receiver is None:
                break
            receiver.message_received(message)
        if reader.held != self._incomplete and not self.closed:
            self._count_incomplete(reader)
        if reader.fault is not None:
            self._refuse_message(reader.fault)
            return
        if self._held is None:
            self._transport.http2.consumed(self._stream, credit)  # what that says goes out behind this read
        else:
            self._held += credit
        if ends:
            self.remote_ended()

    def deliver_rest(self) -> None:
        """Deliver messages until all are, or the connection's turn took long: then the transport comes back to it."""
        if self._rest is None:
            return
        messages, credit, ends = self._rest
        receiver = self.receiver
        for message in messages:
            if self.closed or receiver is None:
                break
            receiver.message_received(message)
            if monotonic() - self._transport.turn_began > LONG_S:
                self._transport.unfinished = self
                return
        self._rest = None
        self.data_received(_NOTHING, credit, ends)

    def _count_incomplete(self, reader: MessageReader) -> None:
        added = reader.held - self._incomplete
        self._incomplete = reader.held
        transport, memory = self._transport, self._memory
        if memory is not None:
            memory.held += added
            if reader.held and memory.held > memory.most_held:
                self._refuse_incomplete()
            else:
                self._ask_memory(memory)
            return
        transport.incomplete += added
        if reader.held and transport.incomplete > transport.options.incomplete_bytes:
            self._refuse_incomplete()

    def _refuse_incomplete(self) -> None:
        self._transport.options.reached["incomplete_messages"] += 1
        self.refuse(Status(Code.RESOURCE_EXHAUSTED, "too many bytes of messages that are not whole"))

    # ---- memory for a large message ---------------------------------------------------------------------------------

    def _ask_memory(self, memory: MessageMemory[Http2Call]) -> None:
        """Let the peer send the rest of a large message only when there is memory for it."""
        size = self._reader.size
        if size <= SMALL_MESSAGE or self._granted or self._on_hold or self._waiting is not None:
            return
        if memory.ask(self, size):
            self._granted = True
            return
        self._transport.options.reached["message_memory"] += 1
        self._waiting = self._wait_for_memory(memory)
        if self._held is None:
            self._held = 0

    def _memory_granted(self) -> None:
        self._granted = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._return_held()

    def _leave_memory(self, memory: MessageMemory[Http2Call]) -> None:
        self._granted = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            if not self._on_hold:
                self._return_held()
        for other in memory.leave(self):
            other._memory_granted()

    def _waited(self, memory: MessageMemory[Http2Call]) -> None:
        """Look for memory again, and end the streams that have kept it for too long without completing a message."""
        self._waiting = self._wait_for_memory(memory)
        for other in memory.grant():
            other._memory_granted()
        for other in memory.overdue(self._transport.options.message_timeout_s):
            other._refuse_incomplete()

    def _wait_for_memory(self, memory: MessageMemory[Http2Call]) -> asyncio.TimerHandle:
        seconds = min(_LOOK_AGAIN_S, self._transport.options.message_timeout_s)
        return self._transport.loop.call_later(seconds, self._waited, memory)

    def _refuse_message(self, fault: RpcError) -> None:
        if self._reader.limit:
            self._transport.options.reached[self._reader.limit] += 1
        self.refuse(fault.status)

    def remote_ended(self) -> None:
        """The peer sends no more: for a bidirectional tunnel the call is over."""
        if self._reader.incomplete:
            self.refuse(Status(Code.INTERNAL, "the stream ended inside a message"))
        elif not self._transport.http2.client:
            self.finish()

    def refuse(self, status: Status) -> None:
        """End the call for a fault of the peer."""
        if self._transport.http2.client:
            self._transport.http2.reset_stream(self._stream.id, ErrorCode.CANCEL)
            self._transport.flush_soon()
            self.ended(status)
        else:
            self.finish(status)

    def resume(self) -> None:
        """Let the receiver send data again."""
        self._paused = False
        if self.receiver is not None and not self.closed:
            self.receiver.resume_writing()

    def ended(self, status: Status) -> None:
        """The one place where a call ends."""
        if self.closed:
            return
        self.closed = True
        if self.deadline is not None:
            self.deadline.cancel()
        if self._memory is None:
            self._transport.incomplete -= self._incomplete
        else:
            self._memory.held -= self._incomplete
            self._leave_memory(self._memory)
        self._incomplete = 0
        self._rest = None
        self._transport.release_headers(self.header_bytes)
        self._transport.forget(self._stream.id)
        if self.response is not None and not self.response.done():
            self.response.set_exception(RpcError(status.code, status.message))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.stream_closed(status)
