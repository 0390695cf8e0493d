"""Test that runs the soak for some seconds; `make soak MINUTES=30` runs it for any duration."""

from __future__ import annotations

import itertools

import pytest
from soak import soak
from soak_plan import deeds, steps

SEED = 37
SECONDS = 8.0


@pytest.mark.timeout(240)
async def test_some_seconds_of_everything(tmp_path, outcome):
    report = await soak(tmp_path, SEED, SECONDS)
    assert report.found == []
    outcome.lost(len(report.found))
    assert report.outcomes["good"] > 100
    assert report.steps == list(steps(SEED, SECONDS)), "a seed is a run"
    assert len(report.steps) >= 3
    for worker, done in report.deeds.items():
        assert done == list(itertools.islice(deeds(SEED, worker), len(done)))


def test_another_seed_is_another_run():
    assert list(steps(1, 60)) == list(steps(1, 60)) != list(steps(2, 60))
    first, again, other = (list(itertools.islice(deeds(seed, 0), 50)) for seed in (1, 1, 2))
    assert first == again != other
    assert sum(step.pause_s + step.lasts_s for step in steps(3, 100)) <= 100
