"""Delayed TCP relay, used as other tests use it."""

from __future__ import annotations

import asyncio
import time

import pytest

from support import targets
from support.delayed_line import DelayedLine
from support.targets import listening


async def echo_through(line):
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"hello")
    writer.write_eof()
    assert await reader.read() == b"hello"
    writer.close()


def to(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("round_trip_s", [0.0, 0.1])
async def test_bytes_and_their_end_take_a_round_trip(round_trip_s):
    async with listening(targets.echo) as address:
        with DelayedLine(to(address), round_trip_s) as line:
            started = time.monotonic()
            await echo_through(line)
            assert round_trip_s <= time.monotonic() - started < round_trip_s + 1


async def test_what_is_over_takes_no_socket_and_no_time():
    async with listening(targets.echo) as address:
        with DelayedLine(to(address), 0.0) as line:
            for _ in range(5):
                await echo_through(line)
            await asyncio.sleep(0.2)
            assert line._ends == set()
            cpu = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - cpu < 0.2
