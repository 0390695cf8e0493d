"""A peer that falls silent, is suspected, comes back, or does not."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from konnectivity.tunnel import heartbeat as heartbeats
from konnectivity.tunnel.heartbeat import Heartbeat, HeartbeatVerdict


class Line:
    """A stream, as far as a heartbeat looks at it."""

    def __init__(self) -> None:
        self.heard_at: float | None = monotonic()
        self.frozen = False
        self.pings = 0

    def ping(self) -> None:
        self.pings += 1
        if not self.frozen:
            asyncio.get_running_loop().call_soon(self.hear)

    def hear(self) -> None:
        self.heard_at = monotonic()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(heartbeats, "SUSPECT_AFTER_S", 0.1)
    monkeypatch.setattr(heartbeats, "DEAD_AFTER_S", 0.5)


async def watched(line: Line, interval_s: float = 0.1) -> tuple[Heartbeat, list[HeartbeatVerdict]]:
    verdicts: list[HeartbeatVerdict] = []
    beat = Heartbeat(line, line.ping, interval_s, verdicts.append)  # type: ignore[arg-type]
    beat.start()
    return beat, verdicts


async def test_a_quiet_peer_that_answers_is_alive():
    line = Line()
    beat, verdicts = await watched(line)
    await asyncio.sleep(0.5)
    beat.stop()
    assert 2 <= line.pings <= 5
    assert verdicts == []


async def test_a_peer_that_talks_is_not_pinged():
    line = Line()
    beat, _ = await watched(line)
    for _ in range(20):
        await asyncio.sleep(0.02)
        line.hear()
    beat.stop()
    assert line.pings == 0


async def test_a_frozen_peer_is_suspected_then_given_up():
    line = Line()
    line.frozen = True
    beat, verdicts = await watched(line)
    await asyncio.sleep(0.3)
    assert verdicts == [HeartbeatVerdict.SUSPECT]
    await asyncio.sleep(0.6)
    assert verdicts == [HeartbeatVerdict.SUSPECT, HeartbeatVerdict.DEAD]
    beat.stop()


async def test_a_peer_that_comes_back_is_alive_again():
    line = Line()
    line.frozen = True
    beat, verdicts = await watched(line)
    await asyncio.sleep(0.3)
    line.frozen = False
    line.hear()
    await asyncio.sleep(0.3)
    beat.stop()
    assert verdicts == [HeartbeatVerdict.SUSPECT, HeartbeatVerdict.ALIVE]


async def test_a_probe_does_not_wait_for_the_interval():
    line = Line()
    line.frozen = True
    beat, verdicts = await watched(line, 60.0)
    beat.probe()
    beat.probe()
    assert line.pings == 1
    await asyncio.sleep(0.2)
    beat.stop()
    assert verdicts == [HeartbeatVerdict.SUSPECT]


@pytest.mark.parametrize("off", ["interval", "transport"])
async def test_it_can_be_off(off):
    line = Line()
    if off == "transport":
        line.heard_at = None
    beat, _ = await watched(line, 0.0 if off == "interval" else 0.05)
    beat.probe()
    await asyncio.sleep(0.15)
    assert line.pings == 0
