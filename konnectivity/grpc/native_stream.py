"""One call on an `Http2Transport`: messages in and out of an HTTP/2 stream, and its end. Owns no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc import status as statuses
from konnectivity.grpc.framing import PREFIX, MessageReader
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.stream import Buffer, MessageStream, StreamReceiver
from konnectivity.http2 import ErrorCode
from konnectivity.http2.stream import Http2Stream

if TYPE_CHECKING:
    from konnectivity.grpc.native import Http2Transport

HIGH_WATER = 128 * 1024  # bytes written but not taken by the kernel from which data waits in its own connection


class NativeStream(MessageStream):
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
        self._incomplete = 0  # what the transport counts of a message that is not whole
        self._held: int | None = None  # consumed but not acknowledged while the stream is held
        self._accepted = False
        self._finished = False

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
        if self._transport.blocked or self._stream.queued:
            self._transport.waiting[self._stream.id] = self
            return True
        return False

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
        if not transport.flush_scheduled:
            transport.flush_soon()

    def hold(self) -> None:
        if self._held is None:
            self._held = 0

    def release(self) -> None:
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
        for message in reader.feed(data):
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

    def _count_incomplete(self, reader: MessageReader) -> None:
        transport = self._transport
        transport.incomplete += reader.held - self._incomplete
        self._incomplete = reader.held
        if reader.held and transport.incomplete > transport.options.incomplete_bytes:
            transport.options.reached["incomplete_messages"] += 1
            self.refuse(Status(Code.RESOURCE_EXHAUSTED, "too many bytes of messages that are not whole"))

    def _refuse_message(self, fault: RpcError) -> None:
        if fault.status.code is Code.RESOURCE_EXHAUSTED:
            self._transport.options.reached["message_size"] += 1
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

    def drained(self) -> None:
        if self.receiver is not None and not self.closed:
            self.receiver.stream_drained()

    def ended(self, status: Status) -> None:
        """The one place where a call ends."""
        if self.closed:
            return
        self.closed = True
        if self.deadline is not None:
            self.deadline.cancel()
        self._transport.incomplete -= self._incomplete
        self._incomplete = 0
        self._transport.forget(self._stream.id)
        if self.response is not None and not self.response.done():
            self.response.set_exception(RpcError(status.code, status.message))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.stream_closed(status)
