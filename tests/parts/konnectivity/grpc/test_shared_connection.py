"""Connection that many users share: streams wait or end, the connection stays. Both ends are our own transport."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from konnectivity.grpc import http2_client
from konnectivity.grpc.budgets.message_memory import MessageMemory
from konnectivity.grpc.budgets.send_budget import SendBudget
from konnectivity.grpc.http2_server import Http2ServerTransport
from konnectivity.grpc.status import Code
from konnectivity.grpc.transport import Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import Limits
from konnectivity.net.socket_listeners import listen_unix

PATH = "/a/b"
LARGE = 300 * 1024
WAIT_S = 10
LIMITS = Limits(slow_down=True, new_streams_per_s=0)
PATIENT = Limits(slow_down=True, new_streams_per_s=0, cheap_frames_burst=1_000_000)


class Receiver:
    """Receiver that records the events of one end of a call."""

    def __init__(self, stream=None):
        self.stream = stream
        self.messages = []
        self.status = None
        self.changed = asyncio.Event()

    def call_accepted(self, metadata):
        pass

    def message_received(self, message):
        self.messages.append(len(message))
        self.changed.set()

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass

    def stream_closed(self, status):
        self.status = status
        self.changed.set()


async def until(receiver, condition):
    async with asyncio.timeout(WAIT_S):
        while not condition(receiver):
            receiver.changed.clear()
            await receiver.changed.wait()


class Pair:
    """Server's transport and one client's, and the calls between them."""

    def __init__(self, options):
        self.options = options
        self.client = None
        self.server = None
        self.served = []

    @property
    def reached(self):
        return self.options.reached

    def _serve(self, stream):
        stream.accept({})
        receiver = Receiver(stream)
        self.served.append(receiver)
        return receiver

    def _connected(self):
        self.server = Http2ServerTransport(self.options, {PATH: self._serve})
        return self.server

    async def call(self):
        """Open a stream; return both ends."""
        receiver = Receiver()
        receiver.stream = self.client.open_stream(PATH, {}, receiver)
        await receiver.stream.accepted()
        return receiver, self.served[-1]


@pytest.fixture
def joined(tmp_path):
    @asynccontextmanager
    async def join(**options):
        options.setdefault("limits", LIMITS)
        pair = Pair(TransportOptions(reached=Counter(), **options))
        listener = await listen_unix("users", str(tmp_path / "socket"), True, pair._connected)
        options = TransportOptions(unsent_bytes=1 << 30, limits=PATIENT)
        pair.client = await http2_client.connect(Destination(str(tmp_path / "socket")), None, options)
        try:
            yield pair
        finally:
            pair.client.abort()
            listener.close()
            await asyncio.sleep(0)

    return join


def memory(budget, most_held=1 << 30):
    return MessageMemory(budget, most_held, monotonic)


async def test_large_messages_wait_for_each_other_and_all_arrive(joined):
    shared = memory(LARGE)
    async with joined(message_memory=shared, stream_window=64 * 1024) as pair:
        calls = [await pair.call() for _ in range(20)]
        for client, _ in calls:
            client.stream.send(bytes(LARGE))
            client.stream.send(bytes(LARGE))
        for _, server in calls:
            await until(server, lambda heard: len(heard.messages) == 2)
        assert shared.held == 0
        assert pair.reached.keys() == {"message_memory"}


async def test_a_message_that_does_not_become_whole_ends_its_stream_while_others_wait(joined):
    async with joined(message_memory=memory(LARGE), message_timeout_s=0.2) as pair:
        stuck, stuck_there = await pair.call()
        http2 = pair.client.writer.http2
        http2.send_data(http2.streams[stuck.stream._stream.id], b"\0" + LARGE.to_bytes(4, "big"), bytes(70_000))
        pair.client.writer.flush_soon()
        await asyncio.sleep(0.5)
        assert stuck.status is None, "nobody waits for its memory"
        whole, whole_there = await pair.call()
        whole.stream.send(bytes(LARGE))
        await until(whole_there, lambda heard: heard.messages == [LARGE])
        await until(stuck, lambda heard: heard.status)
        assert stuck.status.code is Code.RESOURCE_EXHAUSTED
        assert whole.status is None
        assert stuck_there.messages == []
        assert pair.reached["incomplete_messages"] == 1


async def test_a_stream_on_hold_keeps_no_memory_from_others(joined):
    async with joined(message_memory=memory(LARGE)) as pair:
        held, held_there = await pair.call()
        held_there.stream.hold()
        held.stream.send(bytes(LARGE))
        other, other_there = await pair.call()
        other.stream.send(bytes(LARGE))
        await until(other_there, lambda heard: heard.messages == [LARGE])
        assert held_there.messages == []
        held_there.stream.release()
        await until(held_there, lambda heard: heard.messages == [LARGE])


async def test_a_stream_that_ends_gives_its_memory_back(joined):
    async with joined(message_memory=memory(LARGE), stream_window=64 * 1024) as pair:
        calls = [await pair.call() for _ in range(4)]
        for client, _ in calls:
            client.stream.send(bytes(LARGE * 10))
        for client, _ in calls[:3]:
            client.stream.abort()
        await until(calls[3][1], lambda heard: heard.messages == [LARGE * 10])


async def test_over_the_bound_of_all_incomplete_messages_the_stream_that_brings_more_ends(joined):
    shared = memory(1 << 30, most_held=300_000)
    async with joined(message_memory=shared) as pair:
        calls = [await pair.call() for _ in range(4)]
        http2 = pair.client.writer.http2
        for client, _ in calls:
            stream = http2.streams[client.stream._stream.id]
            http2.send_data(stream, b"\0" + LARGE.to_bytes(4, "big"), bytes(90_000))
            pair.client.writer.flush_soon()
            await asyncio.sleep(0.05)
        await until(calls[3][0], lambda heard: heard.status)
        assert calls[3][0].status.code is Code.RESOURCE_EXHAUSTED
        assert [client.status for client, _ in calls[:3]] == [None] * 3
        assert pair.reached == {"incomplete_messages": 1}
        for client, _ in calls:
            client.stream.abort()
        async with asyncio.timeout(WAIT_S):
            while shared.held:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def deaf(pair):
    """Stop the client's reading, and ping until the server stops reading as well."""
    line = pair.client._transport
    line.pause_reading()
    async with asyncio.timeout(WAIT_S):
        while not pair.reached["unread_bytes"]:
            for number in range(1000):
                pair.client.writer.http2.ping(number.to_bytes(8, "big"))
            pair.client.writer.flush()
            await asyncio.sleep(0.005)
    yield
    if not line.is_closing():
        line.resume_reading()


async def test_a_peer_that_does_not_read_is_not_read(joined):
    async with joined(limits=PATIENT, unsent_bytes=200_000) as pair:
        await pair.call()
        async with deaf(pair):
            for _ in range(1000):
                pair.client.writer.http2.ping(bytes(8))
            pair.client.writer.flush()
            await asyncio.sleep(0.1)
            assert pair.server._transport.get_write_buffer_size() < 700_000
        await pair.call()
        assert not pair.server.closed


async def test_a_peer_that_never_reads_is_given_up(joined):
    async with joined(limits=PATIENT, unsent_bytes=200_000, unread_timeout_s=0.3) as pair:
        await pair.call()
        async with deaf(pair), asyncio.timeout(WAIT_S):
            while not pair.server.closed:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("limit", ["unsent_bytes", "unsent_total"])
async def test_a_stream_whose_answers_are_not_taken_ends_alone(joined, limit):
    """When more bytes wait than a stream or all connections may have, the stream with the most bytes ends."""
    bounds = {"unsent_bytes": 100_000} if limit == "unsent_bytes" else {"unsent": SendBudget(100_000)}
    async with joined(**bounds) as pair:
        calls = [await pair.call() for _ in range(3)]
        modest, greedy, other = calls
        for client, _ in (modest, greedy):
            client.stream.hold()  # the stream accepts its first window, and no more
        modest[1].stream.send(bytes(300_000))
        greedy[1].stream.send(bytes(330_000))
        if limit == "unsent_bytes":
            greedy[1].stream.send(bytes(300_000))
        await until(greedy[0], lambda heard: heard.status)
        assert greedy[0].status.code is Code.RESOURCE_EXHAUSTED
        other[1].stream.send(bytes(1000))
        await until(other[0], lambda heard: heard.messages == [1000])
        assert modest[0].status is None
        assert pair.reached[limit] == 1
        assert not pair.server.closed
