"""Connections whose reading takes long read in turns; nothing is lost, and who leaves the queue holds nobody up."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest

from konnectivity.grpc.turns import Turns

SIZE = 4 << 20


class Reader(asyncio.Protocol):
    """One end: every read is one that took long."""

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
    """Readers, and for each the writer of its other end."""
    turns, log, made = Turns(), [], []
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
