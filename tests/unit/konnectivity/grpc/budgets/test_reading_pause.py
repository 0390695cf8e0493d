"""Reasons for which a peer that is slowed down is not read, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from konnectivity.grpc.budgets.reading_pause import ReadingPause
from support.memory_sockets import MemoryTransport
from support.memory_streams import StillLoop


class Site:
    """Pause of reading, its transport and its counters."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.reached: Counter[str] = Counter()
        self.given_up = 0
        self.pause = ReadingPause(self.transport, 1000, 5.0, self.reached, self._give_up, asyncio.get_running_loop())

    def _give_up(self) -> None:
        self.given_up += 1


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    loop.close()


def test_a_flood_pauses_the_reading_for_the_time_it_has_cost(loop: StillLoop) -> None:
    async def run() -> None:
        site = Site()
        site.pause.read(2.0)
        assert site.transport.paused
        await loop.advance(1.9)
        assert site.transport.paused
        await loop.advance(0.2)
        assert not site.transport.paused
        assert site.reached == {"control_frames": 1}

    loop.run_until_complete(run())


def test_unread_answers_pause_the_reading_until_the_peer_has_read(loop: StillLoop) -> None:
    async def run() -> None:
        site = Site()
        site.transport.write(bytes(1000))
        site.pause.written()
        assert not site.transport.paused
        site.transport.write(b"1")
        site.pause.written()
        assert site.transport.paused
        site.pause.drained()
        assert not site.transport.paused
        assert site.reached == {"unread_bytes": 1}

    loop.run_until_complete(run())


def test_a_peer_that_reads_slowly_is_kept_and_one_that_does_not_read_is_given_up(loop: StillLoop) -> None:
    async def run() -> None:
        site = Site()
        site.transport.write(bytes(5000))
        site.pause.written()
        del site.transport.written[:1]
        await loop.advance(5.1)
        assert site.given_up == 0
        await loop.advance(5.1)
        assert site.given_up == 1

    loop.run_until_complete(run())


def test_the_reading_is_resumed_only_when_no_reason_is_left(loop: StillLoop) -> None:
    async def run() -> None:
        site = Site()
        site.pause.read(2.0)
        site.transport.write(bytes(5000))
        site.pause.written()
        await loop.advance(2.1)
        assert site.transport.paused
        site.pause.begin_wait()
        site.pause.drained()
        assert site.transport.paused
        site.pause.end_wait()
        assert not site.pause.paused

    loop.run_until_complete(run())


def test_a_closed_pause_gives_nobody_up(loop: StillLoop) -> None:
    async def run() -> None:
        site = Site()
        site.transport.write(bytes(5000))
        site.pause.written()
        site.pause.close()
        await loop.advance(100.0)
        assert site.given_up == 0

    loop.run_until_complete(run())
