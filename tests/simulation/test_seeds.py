"""Random seeds, stored plans, and the promise that a seed is one run."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from simulation.pki_files import pki_files
from simulation.simulation_command import simulate

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", ["1", "8"])
def test_a_seed_is_one_run_whatever_the_process(seed: str) -> None:
    first, second = (simulate("--seed", seed, hash_seed=each) for each in ("1", "2"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.rpartition("trace ")[2] == second.stdout.rpartition("trace ")[2]


@pytest.mark.timeout(300)
def test_a_seed_is_one_run_whatever_ran_before_it_in_its_process() -> None:
    alone = simulate("--digests", "8")
    after_others = simulate("--digests", "5", "8", "9", "24", "8")
    assert alone.returncode == after_others.returncode == 0, alone.stderr + after_others.stderr
    assert after_others.stdout.splitlines()[1] == alone.stdout.strip()
    assert after_others.stdout.splitlines()[4] == alone.stdout.strip()


@pytest.mark.timeout(300)
def test_plans_that_once_failed_pass() -> None:
    assert PLANS
    done = simulate("--plans", *map(str, PLANS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_simulations_that_start_at_the_same_time_share_one_set_of_certificates(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: pki_files(tmp_path / "pki"), range(3)))
    assert len(set(found)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["pki"]
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*found[0][1:])


@pytest.mark.timeout(600)
def test_the_first_seeds_keep_every_promise(record_property: Callable[[str, object], None]) -> None:
    done = simulate("--first", "30")
    record_property("figure", f"simulation, {done.stdout.splitlines()[-1] if done.stdout else done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
