"""Tests of the table of the reference's scenarios: it is complete, and names tests that exist."""

from __future__ import annotations

import re
import tomllib

import pytest

from support.checkout import ROOT

TABLE = tomllib.loads((ROOT / "tests" / "interop" / "integration_scenarios.toml").read_text())
SCENARIOS = {name: entry for group in TABLE.values() for name, entry in group.items()}
# Test functions in the reference's folders `tests` and `e2e` at the commit that the table names.
COUNT_IN_TESTS, COUNT_IN_E2E = 28, 4


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_shown_by_a_test_that_exists(scenario):
    what, *tests = SCENARIOS[scenario]
    assert "::" not in what
    assert tests
    for each in tests:
        path, _, name = each.partition("::")
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), each


def test_the_integration_tests_of_the_reference_are_all_there():
    """The counts leave out TestMain, which runs the other tests."""
    names = {group: re.findall(r"\b(?:Test|Benchmark)\w+", " ".join(TABLE[group])) for group in ("tests", "e2e")}
    assert {group: len(found) for group, found in names.items()} == {"tests": COUNT_IN_TESTS, "e2e": COUNT_IN_E2E}
