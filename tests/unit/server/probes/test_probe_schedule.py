"""Tests of the schedule of probes on a clock that the test moves."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from random import Random

import pytest

from konnectivity_server.probes.probe_schedule import BEAT_S, CONFIRM_S, MAX_BACKOFF, SPREAD, ProbeSchedule

GAP_S = 12.0


class Hours:
    """Schedule whose probes take a fixed time, run from event to event."""

    def __init__(self, paths: int, took_s: float = 0.01, **limits: float) -> None:
        self.now = 0.0
        self.took_s = took_s
        self.failures: dict[int, int] = {}
        self.started: dict[int, list[float]] = defaultdict(list)
        self.most = 0
        self._ends: list[tuple[float, int]] = []
        self.schedule: ProbeSchedule[int] = ProbeSchedule(GAP_S, lambda: self.now, Random(1).random, **limits)
        for path in range(paths):
            self.schedule.add(path)

    def run(self, until: float) -> None:
        while True:
            waits = [end - self.now for end, _ in self._ends[:1]]
            if (wait_s := self.schedule.wait_s()) is not None:
                waits.append(wait_s)
            if not waits or self.now + min(waits) > until:
                self.now = until
                return
            self.now += max(min(waits), 1e-9)
            while self._ends and self._ends[0][0] <= self.now:
                path = self._ends.pop(0)[1]
                self.schedule.done(path, self.failures.get(path, 0))
            for path in self.schedule.due():
                self.started[path].append(self.now)
                self._ends.append((self.now + self.took_s, path))
            self.most = max(self.most, len(self.schedule.running))

    def gaps(self, path: int) -> list[float]:
        times = self.started[path]
        return [after - before for before, after in pairwise(times)]


def test_each_path_is_probed_again_within_the_gap_and_not_in_step_with_others() -> None:
    hours = Hours(paths=100, rate=100)
    hours.run(600.0)
    for path in range(100):
        gaps = hours.gaps(path)
        assert len(gaps) >= 48
        assert min(gaps) >= SPREAD * GAP_S
        assert max(gaps) <= GAP_S + hours.took_s + 0.2
    last = sorted(times[-1] for times in hours.started.values())
    assert last[-1] - last[0] > GAP_S / 2, "spread over the gap"


def test_first_probes_of_few_paths_start_within_a_second_and_of_many_are_spread() -> None:
    few, many = Hours(paths=3), Hours(paths=1000, rate=100)
    few.run(1.1)
    many.run(2.0)
    assert len(few.started) == 3
    assert 50 < len(many.started) < 400


def test_the_budget_bounds_probes_at_one_time_and_per_second_and_keeps_the_order() -> None:
    hours = Hours(paths=500, took_s=2.0, most_at_once=20, rate=50)
    hours.run(120.0)
    assert hours.most == 20
    assert sum(map(len, hours.started.values())) <= 20 * 120 / 2 + 20
    counts = sorted(map(len, hours.started.values()))
    assert counts[-1] - counts[0] <= 1, "no path is left behind"


def test_the_rate_is_kept_when_every_path_is_due_at_once() -> None:
    hours = Hours(paths=1000, took_s=0.0, rate=50)
    hours.run(30.0)
    assert sum(map(len, hours.started.values())) <= (30 + BEAT_S) * 50


@pytest.mark.parametrize("rate", [100, 25], ids=["enough", "too low"])
def test_probes_of_many_paths_begin_together_a_few_times_a_second(rate: int) -> None:
    hours = Hours(paths=1000, rate=rate)
    hours.run(180.0)
    moments = {time for times in hours.started.values() for time in times if time > 120.0}
    assert len(moments) <= 60.0 / BEAT_S + 1
    assert sum(map(len, hours.started.values())) > 0.9 * min(rate, 1000 / GAP_S) * 180.0


def test_a_first_failure_is_confirmed_at_once_and_a_failing_path_is_probed_less_often() -> None:
    hours = Hours(paths=1)
    for failures in range(1, 7):
        hours.failures[0] = failures
        before = len(hours.started[0])
        while len(hours.started[0]) == before:
            hours.run(hours.now + 0.1)
    gaps = [round(gap, 1) for gap in hours.gaps(0)]
    assert gaps[0] <= CONFIRM_S + 0.2
    assert all(SPREAD * GAP_S <= gap <= MAX_BACKOFF * GAP_S + 0.2 for gap in gaps[1:])
    assert gaps[-1] >= SPREAD * GAP_S * MAX_BACKOFF - 0.2


def test_a_path_that_was_removed_is_not_probed_any_more() -> None:
    hours = Hours(paths=200)
    hours.run(20.0)
    for path in range(1, 200):
        hours.schedule.remove(path)
    before = {path: len(times) for path, times in hours.started.items()}
    hours.run(200.0)
    assert all(len(hours.started[path]) == before[path] for path in range(1, 200))
    assert len(hours.started[0]) > before[0] + 10
    assert len(hours.schedule) == 1


def test_a_path_that_is_hurried_is_due_now_unless_it_is_probed() -> None:
    hours = Hours(paths=1)
    hours.run(5.0)
    hours.schedule.hurry(0)
    before = len(hours.started[0])
    hours.run(5.1)
    assert len(hours.started[0]) == before + 1


@pytest.mark.parametrize("paths", [0, 1])
def test_nothing_is_due_while_all_are_under_way_or_there_are_none(paths: int) -> None:
    hours = Hours(paths=paths, most_at_once=1)
    hours.now = 100.0
    assert len(list(hours.schedule.due())) == paths
    assert hours.schedule.wait_s() is None


def test_a_probe_that_could_not_start_is_put_off() -> None:
    hours = Hours(paths=1)
    hours.now = 100.0
    list(hours.schedule.due())
    hours.schedule.later(0)
    assert hours.schedule.wait_s() == pytest.approx(GAP_S / 10)
