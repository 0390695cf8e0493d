"""Random seeds, stored plans, and the promise that a seed is one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.simulation_command import simulate

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", ["1", "8"])
def test_a_seed_is_one_run_whatever_the_process(seed: str) -> None:
    first, second = (simulate("--seed", seed, hash_seed=each) for each in ("1", "2"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.rpartition("trace ")[2] == second.stdout.rpartition("trace ")[2]


@pytest.mark.timeout(300)
def test_plans_that_once_failed_pass() -> None:
    assert PLANS
    done = simulate("--plans", *map(str, PLANS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_the_first_seeds_keep_every_promise() -> None:
    done = simulate("--first", "50")
    assert done.returncode == 0, done.stdout + done.stderr
