"""Traffic samples: once a second, the amounts of the last minutes."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity_server.api.traffic_samples import INTERVAL_S, SAMPLES, Ring, Sampler


class Site:
    """Sampler of counters that the test writes."""

    def __init__(self):
        self.traffic = TunnelStats()
        self.agents = 0
        self.sampler = Sampler(self.traffic, list, {"agents": lambda: self.agents})


@pytest.fixture
async def site():
    return Site()


async def test_a_sample_is_the_amount_since_the_one_before(site):
    site.sampler.start()
    site.traffic.sent_bytes = 1000
    site.agents = 3
    await asyncio.sleep(INTERVAL_S)
    site.traffic.sent_bytes = 1500
    site.traffic.opened = 2
    site.traffic.dial_failed("timeout")
    await asyncio.sleep(INTERVAL_S)
    series = site.sampler.series(10)
    assert series["bytes_to_destination"] == [1000, 500]
    assert series["agents"] == [3, 3]
    assert (series["dials"], series["dial_failures"], series["stalled"]) == ([0, 2], [0, 1], [0, 0])
    site.sampler.stop()


async def test_no_more_samples_than_were_taken_or_asked_for_are_returned(site):
    assert site.sampler.series(SAMPLES)["dials"] == []
    site.sampler.start()
    await asyncio.sleep(5 * INTERVAL_S)
    assert len(site.sampler.series(SAMPLES)["dials"]) == 5
    assert len(site.sampler.series(2)["dials"]) == 2
    await asyncio.sleep(2 * SAMPLES * INTERVAL_S)
    assert len(site.sampler.series(10**6)["dials"]) == SAMPLES
    site.sampler.stop()


async def test_a_stopped_sampler_takes_no_more_samples(site):
    site.sampler.start()
    await asyncio.sleep(INTERVAL_S)
    site.sampler.stop()
    await asyncio.sleep(10 * INTERVAL_S)
    assert site.sampler.samples == 1


async def test_a_loop_that_stood_still_takes_no_samples_for_that_time(site):
    site.sampler.start()
    asyncio.get_running_loop().now += 100.0  # nothing ran meanwhile
    await asyncio.sleep(3 * INTERVAL_S)
    assert 3 <= site.sampler.samples <= 5
    site.sampler.stop()


def test_a_ring_forgets_the_oldest():
    ring = Ring()
    assert ring.last(3) == [0, 0, 0]
    for number in range(SAMPLES + 7):
        ring.add(number)
    assert ring.last(3) == [SAMPLES + 4, SAMPLES + 5, SAMPLES + 6]
    assert ring.last(SAMPLES) == list(range(7, SAMPLES + 7))
    assert ring.last(0) == []
    ring.add(10**15)
    assert ring.last(1) == [10**15]
