"""Call on an HTTP/2 connection: messages in and out of one stream, and the end of the call.

Owns the message stream: its framing, its window credit and its receiver. Does not own the socket or the HTTP/2
connection, which it uses through `CallConnection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc import status as statuses
from konnectivity.grpc.budgets.call_memory import CallMemory, IncompleteMessages
from konnectivity.grpc.event_reader import EventReader
from konnectivity.grpc.framing import PREFIX, MessageReader
from konnectivity.grpc.http2_writer import Http2Writer
from konnectivity.grpc.message_stream import Buffer, MessageStream, Peer, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.round_trip import RoundTrip
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import ErrorCode
from konnectivity.http2.stream_state import Http2Stream

_NOTHING = memoryview(b"")


class CallConnection(Protocol):
    """Connection of a call: what the call may use of it, and where it reports its end."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Event loop of the connection."""

    @property
    def options(self) -> TransportOptions:
        """Settings of the connection."""

    @property
    def peer(self) -> Peer:
        """Other end of the connection."""

    @property
    def writer(self) -> Http2Writer:
        """Writer of the call's frames."""

    @property
    def reader(self) -> EventReader:
        """Reader that hands the call its data."""

    @property
    def incomplete(self) -> IncompleteMessages:
        """Count of incomplete messages that all calls share."""

    @property
    def round_trip(self) -> RoundTrip:
        """Measured round trip."""

    def ping(self, done: Callable[[float], object] | None = None) -> None:
        """Measure the round trip."""

    def call_ended(self, stream_id: int, call: Http2Call) -> None:
        """Forget a call that has ended."""


class Http2Call(MessageStream):
    """Call on an HTTP/2 connection.

    Attributes:
        header_bytes: bytes that the connection has reserved for `metadata`.

    Args:
        connection: connection that carries the call.
        stream: HTTP/2 stream of the call.
        path: gRPC method, such as "/AgentService/Connect".
        metadata: request headers on a server; none on a client.
        receiver: receiver of the messages, if it is known yet.
        header_bytes: bytes that the connection has reserved for `metadata`.

    """

    def __init__(
        self,
        connection: CallConnection,
        stream: Http2Stream,
        path: str,
        metadata: Metadata,
        receiver: StreamReceiver | None = None,
        header_bytes: int = 0,
    ) -> None:
        self.peer = connection.peer
        self.path = path
        self.metadata = metadata
        self.receiver = receiver
        self.header_bytes = header_bytes
        self.closed = False
        self._connection = connection
        self._writer = connection.writer
        self._stream = stream
        self._client = connection.writer.http2.client
        self._response: asyncio.Future[Metadata] | None = None  # client: done when the headers are here
        if self._client:
            self._response = connection.loop.create_future()
            self._response.add_done_callback(_retrieved)
        self._deadline: asyncio.TimerHandle | None = None
        self._reader = MessageReader(connection.options.max_message_size)
        self._most_messages = connection.options.turns.times.messages
        self._rest: tuple[Iterator[memoryview], int, bool] | None = None  # messages not delivered yet, credit, end
        self._memory = CallMemory(connection.incomplete, self)
        self._withheld: int | None = None  # bytes consumed but not acknowledged; None: nothing is withheld
        self._accepted = False
        self._finished = False
        self._paused = False  # the receiver was asked to pause its data

    # ---- MessageStream --------------------------------------------------------------------------------------------

    @property
    def round_trip_s(self) -> float | None:
        return self._connection.round_trip.last

    @property
    def least_round_trip_s(self) -> float | None:
        return self._connection.round_trip.least

    @property
    def heard_at(self) -> float | None:
        return self._connection.reader.heard_at

    def measure(self, done: Callable[[float], object] | None = None) -> None:
        self._connection.ping(done)

    async def accepted(self) -> Metadata:
        return self.metadata if self._response is None else await self._response

    @property
    def congested(self) -> bool:
        """Return whether data should wait."""
        return self._writer.blocked or self._stream.queued > 0

    def accept(self, metadata: dict[str, str]) -> None:
        if not self.closed and not self._accepted:
            self._accepted = True
            fields = [(name.lower(), value) for name, value in metadata.items()]
            self._writer.send_headers(self._stream.id, call_metadata.RESPONSE + fields)

    def send(self, head: bytes, body: Buffer = b"") -> None:
        if self.closed or self._finished:
            return
        writer, stream = self._writer, self._stream
        writer.send(stream, PREFIX.pack(0, len(head) + len(body)) + head, body)
        if (writer.blocked or stream.queued) and not self._paused:
            self._pause()

    def _pause(self) -> None:
        self._paused = True
        self._writer.call_paused(self._stream.id, self)
        if self.receiver is not None:
            self.receiver.pause_writing()

    def hold(self) -> None:
        self.withhold_credit()
        self._memory.pause()

    def release(self) -> None:
        self._memory.resume(self._reader.size)
        if not self._memory.waits:
            self.return_credit()

    def widen(self, size: int) -> None:
        self._writer.grow_window(self._stream.id, size)

    def finish(self, status: Status = statuses.OK) -> None:
        if self.closed or self._finished:
            return
        self._finished = True
        if self._client:
            self._writer.end_stream(self._stream.id)
            return
        trailers = [("grpc-status", str(int(status.code)))]
        if status.message:
            trailers.append(("grpc-message", statuses.encode_message(status.message)))
        headers = trailers if self._accepted else call_metadata.RESPONSE + trailers
        self._writer.send_headers(self._stream.id, headers, end_stream=True)
        if not self._stream.queue:
            # The answer is complete, and nothing more is wanted from the client (RFC 9113 section 8.1).
            self._writer.reset_stream(self._stream.id, ErrorCode.NO_ERROR)
        self.ended(status)

    def abort(self, message: str = "") -> None:
        if not self.closed:
            self._writer.reset_stream(self._stream.id, ErrorCode.CANCEL)
            self.ended(Status(Code.CANCELLED, message))

    # ---- called by the reader -------------------------------------------------------------------------------------

    def data_received(self, data: memoryview, credit: int, ends: bool) -> None:
        """Deliver the messages that are complete with `data`."""
        reader = self._reader
        receiver = self.receiver
        messages = reader.feed(data)
        memory = self._memory
        if messages and memory.pending:
            memory.leave()
        if len(messages) > self._most_messages:
            self._rest = iter(messages), credit, ends
            self.deliver_rest()
            return
        for message in messages:
            if self.closed or receiver is None:
                break
            receiver.message_received(message)
        if reader.held != memory.held and not self.closed:
            memory.count(reader.held, reader.size)
        if reader.fault is not None:
            if reader.limit:
                self._connection.options.reached[reader.limit] += 1
            self.refuse(reader.fault.status)
            return
        if self._withheld is None:
            self._writer.http2.consumed(self._stream, credit)  # the reader flushes behind this read
        else:
            self._withheld += credit
        if ends:
            self.remote_ended()

    def deliver_rest(self) -> None:
        """Deliver messages until there are no more, or the connection's turn is over: then the reader calls again."""
        if self._rest is None:
            return
        messages, credit, ends = self._rest
        receiver = self.receiver
        turn = self._connection.reader
        for message in messages:
            if self.closed or receiver is None:
                break
            receiver.message_received(message)
            if turn.turn_is_over:
                turn.defer(self)
                return
        self._rest = None
        self.data_received(_NOTHING, credit, ends)

    # ---- called by `CallMemory` -----------------------------------------------------------------------------------

    def withhold_credit(self) -> None:
        """Return no window from now on."""
        if self._withheld is None:
            self._withheld = 0

    def return_credit(self) -> None:
        """Return the window that was withheld, and from now on all window at once."""
        withheld, self._withheld = self._withheld, None
        if withheld:
            self._writer.acknowledge(self._stream.id, withheld)

    def refuse_incomplete(self) -> None:
        """End the call: its incomplete message keeps too much memory."""
        self._connection.options.reached["incomplete_messages"] += 1
        self.refuse(Status(Code.RESOURCE_EXHAUSTED, "too many bytes of incomplete messages"))

    # ---- called by the transport ----------------------------------------------------------------------------------

    def start_deadline(self, timeout_s: float) -> None:
        """End the call with DEADLINE_EXCEEDED after `timeout_s` seconds, unless it has ended before."""
        if not self.closed:
            status = Status(Code.DEADLINE_EXCEEDED, "deadline exceeded")
            self._deadline = self._connection.loop.call_later(timeout_s, self.refuse, status)

    def response_received(self, metadata: Metadata) -> None:
        """Client: record that the server has accepted the call."""
        self.metadata = metadata
        if self._response is not None and not self._response.done():
            if self.receiver is not None:
                self.receiver.call_accepted(metadata)
            self._response.set_result(metadata)

    def remote_ended(self) -> None:
        """End the call, because the peer sends no more: a tunnel works both ways or not at all."""
        if self._reader.incomplete:
            self.refuse(Status(Code.INTERNAL, "the stream ended inside a message"))
        elif not self._client:
            self.finish()

    def refuse(self, status: Status) -> None:
        """End the call for a fault of the peer."""
        if self._client:
            self._writer.reset_stream(self._stream.id, ErrorCode.CANCEL)
            self.ended(status)
        else:
            self.finish(status)

    def resume(self) -> None:
        """Let the receiver send data again."""
        self._paused = False
        if self.receiver is not None and not self.closed:
            self.receiver.resume_writing()

    def ended(self, status: Status) -> None:
        """End the call on this side. Every call ends here."""
        if self.closed:
            return
        self.closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._memory.close()
        self._rest = None
        self._connection.call_ended(self._stream.id, self)
        if self._response is not None and not self._response.done():
            self._response.set_exception(RpcError(status.code, status.message))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.stream_closed(status)


def _retrieved(future: asyncio.Future[Metadata]) -> None:
    """Mark a future's exception as seen, whether or not anybody waits for it."""
    if not future.cancelled():
        future.exception()
