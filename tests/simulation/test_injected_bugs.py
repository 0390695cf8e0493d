"""The simulation finds faults: each one that is put into the product breaks a promise within a minute."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulation.simulation_command import simulate


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return what one process finds for each injected fault, one after another."""
    done = simulate("--injected-bugs")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.mark.timeout(900)
def test_every_injected_fault_is_found_within_a_minute(found: dict[str, Any]) -> None:
    late = {name: each for name, each in found.items() if not each["violation"] or each["seconds"] > 60}
    assert late == {}


@pytest.mark.timeout(900)
def test_ten_faults_of_the_past_and_five_new_ones_are_injected(found: dict[str, Any]) -> None:
    kinds = [each["kind"] for each in found.values()]
    assert kinds.count("old") >= 10
    assert kinds.count("new") >= 5
