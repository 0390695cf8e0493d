"""Two native transports in memory: bytes move when the test says so, and the clock stands still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.http2_server import Http2ServerTransport
from konnectivity.grpc.message_stream import MessageStream, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Status
from konnectivity.grpc.transport_options import TransportOptions
from support.memory_sockets import MemoryTransport
from support.memory_streams import StillLoop

PATH = "/Conversation/Talk"


class Side(StreamReceiver):
    """One end of a call, and the calls of its receiver."""

    stream: MessageStream

    def __init__(self) -> None:
        self.accepted: Metadata | None = None
        self.messages: list[bytes] = []
        self.status: Status | None = None
        self.writable = True
        self.on_message: Callable[[], object] = lambda: None

    def call_accepted(self, metadata: Metadata) -> None:
        self.accepted = metadata

    def message_received(self, message: memoryview) -> None:
        self.messages.append(bytes(message))
        self.on_message()

    def pause_writing(self) -> None:
        assert self.writable, "told twice"
        self.writable = False

    def resume_writing(self) -> None:
        assert not self.writable, "told twice"
        self.writable = True

    def stream_closed(self, status: Status) -> None:
        assert self.status is None, "told twice"
        self.status = status


class Pair:
    """A client's and a server's transport, and the two ends of the connection between them."""

    def __init__(self, loop: StillLoop, server_options: TransportOptions) -> None:
        self.loop = loop
        self._worked_s = 0.0
        self.tick_s = 0.0  # by which the server's clock advances each time that it is read
        self.reached: Counter[str] = server_options.reached
        self.events: list[str] = []
        self.served: list[Side] = []
        self.client = Http2ClientTransport(
            TransportOptions(clock=loop.time), "host", lambda: self.events.append("client closed")
        )
        self.server = Http2ServerTransport(
            replace(server_options, clock=self._clock),
            {PATH: self._serve},
            lambda _: self.events.append("server connected"),
            lambda _: self.events.append("server closed"),
        )
        self.client_line, self.server_line = MemoryTransport(), MemoryTransport()

    def _serve(self, stream: MessageStream) -> Side:
        side = Side()
        side.stream = stream
        stream.accept({"ServerID": "one"})
        self.served.append(side)
        return side

    def _clock(self) -> float:
        self._worked_s += self.tick_s
        return self.loop.time() + self._worked_s

    def work(self, seconds: float) -> None:
        """Advance the server's clock while it handles an event."""
        self._worked_s += seconds

    async def connect(self) -> None:
        """Connect both ends, and exchange their greetings."""
        self.client.connection_made(self.client_line)
        self.server.connection_made(self.server_line)
        await self.exchange()

    async def exchange(self) -> None:
        """Move bytes until neither end has more to send."""
        while True:
            for _ in range(3):
                await asyncio.sleep(0)
            sent, answered = self.client_line.take(), self.server_line.take()
            if not (sent or answered):
                return
            if sent:
                self.server.data_received(sent)
            if answered:
                self.client.data_received(answered)

    async def call(self, timeout_s: float | None = None) -> tuple[Side, Side]:
        """Make a call; return both ends."""
        side = Side()
        side.stream = self.client.open_stream(PATH, {}, side, timeout_s)
        await self.exchange()
        return side, self.served[-1]


Talk = Callable[[Pair], Awaitable[None]]


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    loop.close()


@pytest.fixture
def talk(loop: StillLoop) -> Callable[..., None]:
    """Run a conversation between two connected transports; keyword arguments are options of the server."""

    def run(conversation: Talk, **options: object) -> None:
        async def connected() -> None:
            server_options = replace(TransportOptions(clock=loop.time), **options)  # type: ignore[arg-type]
            pair = Pair(loop, server_options)
            await pair.connect()
            await conversation(pair)

        loop.run_until_complete(connected())

    return run
