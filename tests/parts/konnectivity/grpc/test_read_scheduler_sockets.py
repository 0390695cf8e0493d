"""Slow readers on real sockets read in turns; nothing is lost, and a reader that leaves the queue delays no other."""

from __future__ import annotations

import asyncio
import functools
import socket
from itertools import pairwise
from time import monotonic

import pytest
from hpack import Encoder

from konnectivity.grpc.budgets.read_scheduler import ALL, PART, ReadScheduler
from konnectivity.grpc.framing import PREFIX
from konnectivity.grpc.http2_server import Http2ServerTransport
from konnectivity.grpc.message_stream import StreamReceiver
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import frames

SIZE = 4 << 20


class Reader(asyncio.Protocol):
    """Receiving end of a connection on which every read counts as slow."""

    def __init__(self, turns, log, name):
        self.turns, self.log, self.name = turns, log, name
        self.received = 0
        self.ended = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += len(data)
        self.log.append(self.name)
        self.transport.pause_reading()
        self.turns.wait(self.read_on, asyncio.get_running_loop())

    def read_on(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc):
        self.ended.set()


@pytest.fixture
async def crowd():
    """Return readers, and for each the writer of its other end."""
    turns, log, made = ReadScheduler(), [], []
    for name in "abc":
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, reader = await loop.create_unix_connection(lambda name=name: Reader(turns, log, name), sock=ours)
        _, writer = await asyncio.open_unix_connection(sock=theirs)
        made.append((reader, writer))
    yield turns, log, made
    for reader, writer in made:
        reader.transport.abort()
        writer.transport.abort()


async def test_they_take_turns_and_nothing_is_lost(crowd):
    turns, log, made = crowd
    for _, writer in made:
        writer.write(bytes(SIZE))
        writer.close()
    async with asyncio.timeout(20):
        for reader, _ in made:
            await reader.ended.wait()
    assert [reader.received for reader, _ in made] == [SIZE] * 3
    common = log[: 3 * min(log.count(name) for name in "abc") - 3]
    again = sum(before == after for before, after in pairwise(common))
    assert again <= len(common) // 10, "one had several turns while others waited"
    assert len(turns) == 0
    assert turns.taken > 10


async def test_who_hangs_up_in_the_queue_holds_nobody_up(crowd):
    turns, _, made = crowd
    for _, writer in made:
        writer.write(bytes(SIZE))
    while len(turns) < 2:
        await asyncio.sleep(0)
    made[0][0].transport.abort()
    made[1][1].transport.abort()
    made[2][1].close()
    async with asyncio.timeout(20):
        for reader, _ in made:
            await reader.ended.wait()
    assert made[2][0].received == SIZE
    assert len(turns) == 0


class Burner(StreamReceiver):
    """Receiver that works on each message for a number of seconds."""

    def __init__(self, log, seconds, on_message):
        self.log, self.seconds, self.on_message = log, seconds, on_message

    def message_received(self, message):
        end = monotonic() + self.seconds
        while monotonic() < end:
            pass
        self.log[-1] += 1
        self.on_message()

    def pause_writing(self):
        return

    def resume_writing(self):
        return

    def stream_closed(self, status):
        return


@pytest.mark.parametrize(
    ("part", "readers", "read_s", "most_reads"),
    [
        pytest.param(False, 30, 1.5 * ALL.heavy_s, 8, id="heavy-reads"),
        pytest.param(True, 30, 1.5 * PART.heavy_s, 8, id="heavy-reads-of-a-part"),
        pytest.param(True, 60, PART.heavy_s / 2, 22, id="quick-reads-of-a-part"),
    ],
)
async def test_a_crowd_of_readers_makes_no_pass_long(part, readers, read_s, most_reads):
    """Each connection receives one message at a time, none of which takes long alone."""
    loop, passes, sockets, transports = asyncio.get_running_loop(), [0], [], set()
    turns = ReadScheduler().part() if part else ReadScheduler()
    options = TransportOptions(turns=turns)
    message = PREFIX.pack(0, 4) + b"work"
    done = asyncio.Event()

    def count_pass():
        passes.append(0)
        if sum(passes) >= 600:
            done.set()
        elif not done.is_set():
            loop.call_soon(count_pass)

    for _ in range(readers):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        send = functools.partial(theirs.send, frames.frame(frames.DATA, 0, 1, message))
        services = {"/x": lambda stream, send=send: stream.accept({}) or Burner(passes, read_s, send)}
        factory = functools.partial(Http2ServerTransport, options, services, transports.add, transports.discard)
        await loop.connect_accepted_socket(factory, ours)
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")]
        fields += [("te", "trailers"), ("content-type", "application/grpc")]
        head = b"".join(frames.header_block(1, Encoder().encode(fields), False, frames.DEFAULT_FRAME_SIZE))
        theirs.send(frames.PREFACE + frames.settings({}) + head + frames.frame(frames.DATA, 0, 1, message))
        sockets.append(theirs)
    passes[:] = [0]
    count_pass()
    async with asyncio.timeout(30):
        await done.wait()
    for each in [*sockets, *transports]:
        each.close()
    while transports:
        await asyncio.sleep(0.01)
    busy = sorted(count for count in passes[len(passes) // 3 :] if count)
    assert busy[len(busy) * 9 // 10] <= most_reads, passes
    assert turns.taken > 50
