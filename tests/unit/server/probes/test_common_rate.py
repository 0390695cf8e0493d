"""Tests of the rate that the schedules of many tenants share, on a clock that the test moves."""

from __future__ import annotations

import heapq
from itertools import pairwise
from random import Random

from konnectivity_server.probes.common_rate import BEAT_S, CommonRate
from konnectivity_server.probes.probe_schedule import ProbeSchedule

GAP_S = 12.0
TOOK_S = 0.01


class Tenants:
    """Schedules of several tenants, run from event to event; `started` has the times of all probes of each."""

    def __init__(self, rate: float, *paths: int) -> None:
        self.now = 0.0
        self.common = CommonRate(rate, lambda: self.now)
        random = Random(1).random
        self.schedules = [
            ProbeSchedule[int](GAP_S, lambda: self.now, random, rate=1000, common=self.common) for _ in paths
        ]
        self.started: list[list[tuple[float, int]]] = [[] for _ in paths]
        self._ends: list[tuple[float, int, int]] = []
        for schedule, count in zip(self.schedules, paths, strict=True):
            for path in range(count):
                schedule.add(path)

    def run(self, until: float) -> None:
        ticks = [(self.now, number) for number in range(len(self.schedules))]
        while self.now < until:
            at, number = heapq.heappop(ticks)
            self.now = max(self.now, at)
            while self._ends and self._ends[0][0] <= self.now:
                _, tenant, path = heapq.heappop(self._ends)
                self.schedules[tenant].done(path, 0)
            for path in self.schedules[number].due():
                self.started[number].append((self.now, path))
                heapq.heappush(self._ends, (self.now + TOOK_S, number, path))
            wait_s = self.schedules[number].wait_s()
            heapq.heappush(ticks, (self.now + min(1.0 if wait_s is None else max(wait_s, 1e-3), 1.0), number))

    def rates(self, since: float) -> list[float]:
        """Return the probes per second of each tenant."""
        return [sum(at >= since for at, _ in each) / (self.now - since) for each in self.started]

    def longest_gap(self, tenant: int, since: float) -> float:
        """Return the longest time between two probes of one path."""
        times: dict[int, list[float]] = {}
        for at, path in self.started[tenant]:
            if at >= since:
                times.setdefault(path, []).append(at)
        return max(after - before for each in times.values() for before, after in pairwise(each))


def test_all_tenants_together_keep_the_rate_in_every_second() -> None:
    tenants = Tenants(20.0, *[50] * 30)
    tenants.run(120.0)
    times = sorted(at for each in tenants.started for at, _ in each)
    assert len(times) > 0.95 * 20.0 * 120, "and use it"
    first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        assert last - first + 1 <= 20.0 * (1.0 + BEAT_S) + 1


def test_tenants_with_much_to_probe_get_equal_shares() -> None:
    tenants = Tenants(20.0, 4000, 400, 800, 2000)
    tenants.run(200.0)
    shares = tenants.rates(50.0)
    assert max(shares) < 1.2 * min(shares)
    assert sum(shares) > 0.95 * 20.0


def test_a_tenant_of_many_agents_does_not_starve_those_of_few() -> None:
    tenants = Tenants(50.0, 20_000, *[3] * 40)  # the small ones need 10 a second
    tenants.run(200.0)
    shares = tenants.rates(50.0)
    assert all(tenants.longest_gap(number, 50.0) < 1.25 * GAP_S for number in range(1, 41))
    assert sum(shares[1:]) > 9.5
    assert shares[0] > 35.0, "the large one has what the others leave"


def test_tenants_that_need_less_than_the_rate_are_not_delayed() -> None:
    tenants = Tenants(50.0, *[5] * 100)  # 42 a second
    tenants.run(200.0)
    assert all(tenants.longest_gap(number, 50.0) < 1.2 * GAP_S for number in range(100))


def test_a_tenant_that_ends_leaves_its_share_to_the_others() -> None:
    tenants = Tenants(10.0, 1000, 1000, 1000)
    tenants.run(60.0)
    for schedule in tenants.schedules[:2]:
        for path in range(1000):
            schedule.remove(path)
    tenants.run(120.0)
    assert tenants.rates(70.0)[2] > 9.5
