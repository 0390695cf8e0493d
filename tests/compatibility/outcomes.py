"""Outcomes of tests/interop and tests/node, from which the compatibility page is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TESTS = Path(__file__).parent.parent
FOLDERS = ("interop", "node")


class Outcome(NamedTuple):
    """Outcome of one test."""

    test: str  # its id
    outcome: str
    properties: list[tuple[str, Any]]

    @property
    def file(self) -> str:
        return self.test.partition("::")[0]


class Outcomes:
    """Outcomes of all tests so far, in the order of a run without stages or workers."""

    def __init__(self, earlier: list[Any]) -> None:
        self._found = {test: Outcome(test, outcome, properties) for test, outcome, properties in earlier}

    def __iter__(self) -> Iterator[Outcome]:
        return iter(sorted(self._found.values(), key=lambda each: each.file))

    def add(self, report: pytest.TestReport) -> None:
        """Add the outcome of a test's call, or of a set-up or an end that has not passed."""
        ours = report.nodeid.startswith(tuple(f"tests/{name}/" for name in FOLDERS))
        if ours and (report.when == "call" or not report.passed):
            self._found[report.nodeid] = Outcome(report.nodeid, report.outcome, report.user_properties)

    def of(self, folder: str) -> list[Outcome]:
        """Return the outcomes of a folder's tests if each of its files has some; otherwise none."""
        found = [each for each in self if each.file.startswith(f"tests/{folder}/")]
        files = {f"tests/{folder}/{each.name}" for each in (TESTS / folder).glob("test_*.py")}
        return found if {each.file for each in found} == files else []
