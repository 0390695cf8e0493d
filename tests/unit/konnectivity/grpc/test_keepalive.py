"""Keepalive on a clock that stands still: a ping after a silence, and the end without an answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from konnectivity.grpc.keepalive import Keepalive
from support.memory_streams import StillLoop


class Owner:
    """Connection that records the calls of its keepalive."""

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.pings = 0
        self.reasons: list[str] = []

    def ping(self) -> None:
        self.pings += 1

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    loop.close()


def test_a_silent_peer_is_pinged_and_then_given_up(loop: StillLoop) -> None:
    async def run() -> None:
        owner = Owner()
        Keepalive(owner, loop, time_s=10.0, timeout_s=2.0)
        await loop.advance(9.9)
        assert owner.pings == 0
        await loop.advance(0.2)
        assert (owner.pings, owner.reasons) == (1, [])
        await loop.advance(2.1)
        assert owner.reasons == ["no answer to a keepalive ping in 2 s"]

    loop.run_until_complete(run())


def test_a_peer_that_answers_the_ping_is_kept(loop: StillLoop) -> None:
    async def run() -> None:
        owner = Owner()
        Keepalive(owner, loop, time_s=10.0, timeout_s=2.0)
        await loop.advance(10.1)
        owner.heard_at = loop.time()
        await loop.advance(2.1)
        assert owner.reasons == []
        await loop.advance(10.1)
        assert owner.pings == 2

    loop.run_until_complete(run())


def test_a_peer_that_sends_is_not_pinged(loop: StillLoop) -> None:
    async def run() -> None:
        owner = Owner()
        Keepalive(owner, loop, time_s=10.0, timeout_s=2.0)
        for _ in range(5):
            owner.heard_at = loop.time()
            await loop.advance(10.1)
        assert owner.pings == 0

    loop.run_until_complete(run())


def test_a_stopped_keepalive_does_nothing(loop: StillLoop) -> None:
    async def run() -> None:
        owner = Owner()
        Keepalive(owner, loop, time_s=10.0, timeout_s=2.0).stop()
        await loop.advance(100.0)
        assert (owner.pings, owner.reasons) == (0, [])

    loop.run_until_complete(run())
