"""Heartbeat of a tunnel: a peer that falls silent, is suspected, answers again, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from konnectivity.tunnel.heartbeat import BATCH_S, DEAD_AFTER_S, LEAD, SUSPECT_AFTER_S, Heartbeat
from support.memory_streams import StillLoop

INTERVAL_S = 10.0
STEP_S = 0.1

Scenario = Callable[[], Coroutine[Any, Any, None]]


class SilentPeer:
    """Stream of a peer, and the owner of its heartbeat.

    Attributes:
        frozen: whether the peer answers no ping.
        pings: number of pings sent.
        news: calls of the owner, and the reason of the end.

    """

    def __init__(self, interval_s: float = INTERVAL_S, can_ping: bool = True, crowd: bool = False) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        self.loop = loop
        self.heard_at = loop.time() if can_ping else None
        self.frozen = False
        self.pings = 0
        self.news: list[str] = []
        self.pinged_at = 0.0
        self.heartbeat = Heartbeat(self, self.ping, interval_s, self, "agent", clock=loop.time, crowd=crowd)  # type: ignore[arg-type]
        self.heartbeat.start()

    def ping(self) -> None:
        self.pings += 1
        self.pinged_at = self.loop.time()
        if not self.frozen:
            self.loop.call_soon(self.hear)

    def hear(self) -> None:
        self.heard_at = self.loop.time() + STEP_S / 2  # later than the ping

    def abort(self, reason: str) -> None:
        self.news.append(reason)

    def peer_suspected(self) -> None:
        self.news.append("suspected")

    def peer_recovered(self) -> None:
        self.news.append("recovered")

    async def wait(self, seconds: float) -> None:
        """Advance the clock in small steps."""
        for _ in range(round(seconds / STEP_S)):
            await self.loop.advance(STEP_S)


@pytest.fixture
def in_still_time() -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(scenario())

    return run


def test_a_quiet_peer_that_answers_is_pinged_now_and_then_and_stays_alive(in_still_time):
    async def scenario():
        peer = SilentPeer()
        await peer.wait(10 * INTERVAL_S)
        assert 5 <= peer.pings <= 10
        assert peer.heartbeat.alive
        assert peer.news == []

    in_still_time(scenario)


def test_a_crowd_is_pinged_in_batches_and_before_a_peer_with_the_same_interval_would_ping(in_still_time):
    async def scenario():
        peers = []
        for _ in range(10):
            peers.append(SilentPeer(crowd=True))
            await peers[0].loop.advance(BATCH_S / 20)
        for _ in range(2):
            heard_at = [peer.heard_at for peer in peers]
            while not all(peer.pinged_at > then for peer, then in zip(peers, heard_at, strict=True)):
                await peers[0].loop.advance(BATCH_S / 20)
            assert len({round(peer.pinged_at, 3) for peer in peers}) <= 2
            for peer, then in zip(peers, heard_at, strict=True):
                assert INTERVAL_S * (1 - 2 * LEAD) < peer.pinged_at - then < INTERVAL_S * (1 - LEAD) + BATCH_S
            await peers[0].wait(SUSPECT_AFTER_S)

    in_still_time(scenario)


def test_a_peer_that_talks_is_not_pinged(in_still_time):
    async def scenario():
        peer = SilentPeer()
        for _ in range(50):
            await peer.wait(INTERVAL_S / 5)
            peer.hear()
        assert peer.pings == 0

    in_still_time(scenario)


def test_a_frozen_peer_is_suspected_and_then_its_stream_is_ended(in_still_time):
    async def scenario():
        peer = SilentPeer()
        peer.frozen = True
        await peer.wait(INTERVAL_S + SUSPECT_AFTER_S + 0.5)
        assert peer.news == ["suspected"]
        assert not peer.heartbeat.alive
        await peer.wait(DEAD_AFTER_S)
        assert peer.news == ["suspected", "the agent answers no ping"]
        assert peer.pings == 1

    in_still_time(scenario)


def test_a_suspected_peer_that_answers_is_alive_again_at_once(in_still_time):
    async def scenario():
        peer = SilentPeer()
        peer.frozen = True
        await peer.wait(INTERVAL_S + SUSPECT_AFTER_S + 0.5)
        peer.frozen = False
        peer.hear()
        await peer.wait(0.5)
        assert peer.news == ["suspected", "recovered"]
        assert peer.heartbeat.alive

    in_still_time(scenario)


def test_a_probe_does_not_wait_for_the_interval(in_still_time):
    async def scenario():
        peer = SilentPeer(interval_s=3600.0)
        peer.frozen = True
        peer.heartbeat.probe()
        peer.heartbeat.probe()
        assert peer.pings == 1
        await peer.wait(SUSPECT_AFTER_S + 0.5)
        assert peer.news == ["suspected"]

    in_still_time(scenario)


def test_a_stopped_heartbeat_tells_nobody(in_still_time):
    async def scenario():
        peer = SilentPeer()
        peer.frozen = True
        await peer.wait(INTERVAL_S + 0.5)
        peer.heartbeat.stop()
        await peer.wait(2 * DEAD_AFTER_S)
        assert peer.news == []

    in_still_time(scenario)


@pytest.mark.parametrize("off", ["interval", "transport"])
def test_a_heartbeat_can_be_off(in_still_time, off):
    async def scenario():
        peer = SilentPeer(0.0 if off == "interval" else INTERVAL_S, can_ping=off == "interval")
        peer.heartbeat.probe()
        await peer.wait(3 * INTERVAL_S)
        assert peer.pings == 0

    in_still_time(scenario)
