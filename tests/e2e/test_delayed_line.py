"""Tests with a round trip of 50 ms between server and agent: transfers stay exact and bulk transfers do not stall."""

from __future__ import annotations

import time

import pytest

from konnectivity.client import connect
from support import targets
from support.delayed_line import DelayedLine
from support.targets import listening

MIB = 1024 * 1024
SIZE = 200 * MIB


async def download(tunnel, address):
    reader, writer = await tunnel.dial(address)
    started = time.monotonic()
    size = 0
    while data := await reader.read(MIB):
        size += len(data)
    writer.close()
    return size, size / MIB / (time.monotonic() - started)


@pytest.mark.timeout(120)
async def test_bulk_and_half_close_over_50_ms(fresh):
    fresh.start_server("-v=1")
    with DelayedLine(("127.0.0.1", fresh.agent_port), 0.05) as line:
        fresh.start_agent("-v=1", port=line.port)
        async with (
            listening(targets.source(SIZE)) as bulk,
            listening(targets.digest) as digest,
            connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
        ):
            size, rate = await download(tunnel, bulk)
            assert size == SIZE
            # A fixed window of 64 KiB would give 1.25 MiB/s; benchmarks/ compares with a plain TCP connection.
            assert rate > 20, f"{rate:.0f} MiB/s"
            reader, writer = await tunnel.dial(digest)
            for piece in targets.pattern(3_000_000):
                writer.write(piece)
            writer.write_eof()
            assert (await reader.read()).decode().strip() == targets.pattern_digest(3_000_000)
            writer.close()
