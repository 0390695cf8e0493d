"""Calls on grpcio, in both roles: the queue of each stream, the tasks that empty and fill it, and its one end.

Limits of grpcio: a server cannot tell a call that its client cancelled from one whose connection was lost or whose
message was too large (all end with CANCELLED here), nor drop the message that it is writing when it ends a call; a
client does not see the server's certificate; there is no window to widen, because grpcio sizes its own.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import TypeVar, cast
from urllib.parse import unquote

import grpc
import grpc.aio

from konnectivity.grpc import status as statuses
from konnectivity.grpc.message_stream import Buffer, MessageStream, Peer, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status

T = TypeVar("T")
Fields = tuple[tuple[str, str], ...]
Context = grpc.aio.ServicerContext[bytes, bytes]
Call = grpc.aio.StreamStreamCall[bytes, bytes]

HIGH_WATER = 256 * 1024  # bytes queued from which a stream is congested
LOW_WATER = 64 * 1024  # bytes queued below which a stream stops being congested
VERDICT_S = 0.05  # grpcio reports the end of a call in two events: the second one, with the reason, within this time
SECOND_VERDICT_TRIES = 20
CODES = {code.value[0]: code for code in grpc.StatusCode}
_WRITE_FAILED = Status(Code.INTERNAL, "Internal error from Core")  # status that grpcio sets when a write fails
_LOST = Status(Code.CANCELLED, "the client cancelled the call, or its connection was lost")


class GrpcioStream(MessageStream):
    """Call of either role."""

    def __init__(self, peer: Peer, path: str, metadata: Metadata, receiver: StreamReceiver | None = None) -> None:
        self.peer = peer
        self.path = path
        self.metadata = metadata
        self.receiver = receiver
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Fields | None] = asyncio.Queue()  # None: this side has ended
        self.queued = 0  # bytes of messages that grpcio has not taken
        self._blocked = False
        self._finished = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    def accept(self, metadata: dict[str, str]) -> None:
        if not self.closed:
            self._queue.put_nowait(as_fields(metadata.items()))

    def send(self, head: bytes, body: Buffer = b"") -> None:
        if not (self.closed or self._finished):
            message = b"".join((head, body))
            self.queued += len(message)
            self._queue.put_nowait(message)
            if self.queued >= HIGH_WATER and not self._blocked:
                self._blocked = True
                if self.receiver is not None:
                    self.receiver.pause_writing()

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def widen(self, size: int) -> None:
        pass

    def finish(self, status: Status = statuses.OK) -> None:
        if not (self.closed or self._finished):
            self._finished = True
            self._queue.put_nowait(None)

    @abstractmethod
    async def run(self) -> None:
        """Carry messages both ways until the call is over."""

    async def _receive(self, read: Callable[[], Awaitable[object]]) -> None:
        """Hand over messages until the peer ends. A read is never cancelled to hold: its message would be lost."""
        while True:
            await self._flowing.wait()
            message = await read()
            if message is grpc.aio.EOF:
                return
            if self.receiver is not None and not self.closed:
                self.receiver.message_received(memoryview(cast("bytes", message)))

    def _sent(self, size: int) -> None:
        self.queued -= size
        if self._blocked and self.queued < LOW_WATER:
            self._blocked = False
            if self.receiver is not None and not self.closed:
                self.receiver.resume_writing()

    def _drop(self) -> None:
        """Forget what was not sent."""
        while not self._queue.empty():
            self._queue.get_nowait()

    def _end(self, status: Status) -> None:
        """End the call on this side. The receiver is told in the next pass of the event loop, never in its own call."""
        if not self.closed:
            self.closed = True
            self._blocked = False
            self._loop.call_soon(self._tell, status)

    def _tell(self, status: Status) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.stream_closed(status)


class ServerStream(GrpcioStream):
    """Call that a client made. `run` is part of grpcio's handler, which grpcio cancels when the call is dead."""

    def __init__(self, context: Context, path: str) -> None:
        super().__init__(_peer(context), path, as_metadata(context.invocation_metadata() or ()))
        self._context = context
        self._status = statuses.OK

    def finish(self, status: Status = statuses.OK) -> None:
        if not self.closed:
            self._status = status
            super().finish()
            self._end(status)

    def abort(self, message: str = "") -> None:
        if not self.closed:
            self._drop()
            self.finish(Status(Code.CANCELLED, message))

    def lost(self, status: Status) -> None:
        """End the call with a status, because its connection is about to be closed."""
        self._end(status)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read())
                await self._write()
                reader.cancel()
        except asyncio.CancelledError:
            late = self._context.time_remaining() == 0
            self._end(Status(Code.DEADLINE_EXCEEDED, "deadline exceeded") if late else _LOST)
            raise
        finally:
            self._end(Status(Code.INTERNAL, "the call failed on this side"))
            self._drop()
        self._context.set_code(CODES[self._status.code])
        self._context.set_details(self._status.message)

    async def _read(self) -> None:
        await self._receive(self._context.read)
        await asyncio.sleep(VERDICT_S)  # a client that did more than end its side has this task cancelled here
        self.finish()

    async def _write(self) -> None:
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, tuple):
                    await self._context.send_initial_metadata(item)
                else:
                    await self._context.write(item)
                    self._sent(len(item))
        except grpc.aio.InternalError:
            await asyncio.sleep(VERDICT_S)  # the client is gone: grpcio cancels this task here
            self._end(_LOST)


class ClientStream(GrpcioStream):
    """Call that this side made. `response` is done when the server has accepted or refused the call."""

    def __init__(self, call: Call, peer: Peer, path: str, receiver: StreamReceiver) -> None:
        super().__init__(peer, path, Metadata(()), receiver)
        self.response: asyncio.Future[Metadata] = self._loop.create_future()
        self.response.add_done_callback(_retrieved)
        self._call = call
        self._verdict = _WRITE_FAILED
        self._call.add_done_callback(self._judged)

    async def accepted(self) -> Metadata:
        return await self.response

    def hold(self) -> None:
        if not self._call.done():
            super().hold()

    def abort(self, message: str = "") -> None:
        self.lost(Status(Code.CANCELLED, message))

    def lost(self, status: Status) -> None:
        """End the call now, with a status on this side."""
        if not self.closed:
            self._end(status)
            self._call.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write())
            self._end(await self._read())
            writer.cancel()

    def over(self, _: object) -> None:
        """End the call after `run` has ended, or was cancelled before it began."""
        self.lost(Status(Code.CANCELLED, "cancelled on this side"))
        self._drop()

    async def _read(self) -> Status:
        call = self._call
        try:
            headers = as_metadata(await call.initial_metadata())
            if headers.fields or not await self._refused():
                self.metadata = headers
                if not self.response.done():
                    if self.receiver is not None:
                        self.receiver.call_accepted(headers)
                    self.response.set_result(headers)
            # `call.read` would skip what is still to come once a write has failed; the iterator does not.
            await self._receive(partial(anext, aiter(call), grpc.aio.EOF))
        except grpc.aio.AioRpcError:
            pass  # the call has its status
        for _ in range(SECOND_VERDICT_TRIES):
            if self._verdict != _WRITE_FAILED:
                break
            await asyncio.sleep(VERDICT_S)
            self._judged(call)
        return self._verdict

    def _judged(self, _: object) -> None:
        """Record the status of the call. After a failed write grpcio sets its own, before or after the server's."""
        if self._verdict == _WRITE_FAILED:
            self._verdict = Status(Code(_now(self._call.code()).value[0]), _now(self._call.details()) or "")
        self._flowing.set()

    async def _refused(self) -> bool:
        """Return whether the server refused the call: grpcio shows that as empty headers, and then the status."""
        try:
            async with asyncio.timeout(VERDICT_S):
                await self._call.code()
        except TimeoutError:
            return False
        return True

    async def _write(self) -> None:
        try:
            while (item := await self._queue.get()) is not None:
                await self._call.write(cast("bytes", item))
                self._sent(len(item))
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            pass  # the call is over; `_read` learns why

    def _end(self, status: Status) -> None:
        if not self.response.done():
            self.response.set_exception(RpcError(status.code, status.message))
        super()._end(status)


def _now(answer: Coroutine[object, None, T]) -> T:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        answer.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    answer.close()
    raise RuntimeError("grpcio has no status for a call that is done")


def as_fields(metadata: Iterable[tuple[str, str]]) -> Fields:
    """Return metadata in the form that grpcio takes."""
    return tuple((name.lower(), value) for name, value in metadata)


def as_metadata(fields: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Return the metadata that grpcio received, without binary fields (`-bin`), which no service uses."""
    return Metadata((name, value) for name, value in fields if isinstance(value, str))


def _peer(context: Context) -> Peer:
    kind, _, address = context.peer().partition(":")
    names = list(context.auth_context().get("x509_common_name", ()))
    certificate: dict[str, object] | None = None
    if names:
        certificate = {"subject": ((("commonName", names[0].decode()),),)}  # as ssl.SSLSocket.getpeercert returns it
    return Peer(unquote(address) if kind in ("ipv4", "ipv6") else "unix", certificate)


def _retrieved(future: asyncio.Future[Metadata]) -> None:
    if not future.cancelled():
        future.exception()
