"""Recorder of outcomes, a pytest plugin that tests/conftest.py registers if the environment has REPORT.

Pytest's cache keeps the outcomes between the stages of a run: with REPORT=add a run adds its outcomes to those in the
cache.
"""

from __future__ import annotations

import os

import pytest

from compatibility import page, release_record
from compatibility.outcomes import Outcomes

KEY = "compatibility/outcomes"


class OutcomeRecorder:
    """Plugin that records the outcomes and, at the end of a run, writes what can be made from them.

    Args:
        cache: pytest's cache.
        adds: the run adds to the outcomes of earlier ones.
    """

    def __init__(self, cache: pytest.Cache, adds: bool) -> None:
        self._cache = cache
        self._adds = adds
        self._whole = True  # no test was deselected
        self.outcomes = Outcomes(cache.get(KEY, []) if adds else [])

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._whole = self._whole and not items

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes.add(report)

    def pytest_sessionfinish(self) -> None:
        self._cache.set(KEY, list(self.outcomes))
        if self._whole or self._adds:
            release_record.write(self.outcomes)
            page.write(self.outcomes)


def register(config: pytest.Config) -> None:
    """Register the recorder if the environment has REPORT; the workers of pytest-xdist hand their reports to it."""
    report = os.environ.get("REPORT")
    if report and config.cache is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeRecorder(config.cache, report == "add"), "outcome-recorder")
