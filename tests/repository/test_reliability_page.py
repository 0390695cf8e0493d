"""Tests of docs/operate/reliability.md: each promise has a test, and each test's promise is on the page."""

from __future__ import annotations

import re
import tomllib

import pytest

from support.checkout import ROOT

PAGE = (ROOT / "docs" / "operate" / "reliability.md").read_text()
AREAS = tomllib.loads((ROOT / "tests" / "adversity" / "promises.toml").read_text())
ROWS = [row for rows in AREAS.values() for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["fault"][:40])
def test_a_promise_has_its_test_and_its_row(row):
    path, _, function = row["test"].partition("::")
    assert f"def {function}(" in (ROOT / path).read_text()
    line = next(line for line in PAGE.splitlines() if row["test"] in line)
    assert row["fault"] in line, "make reliability"
    assert row["holds"] in line, "make reliability"


def test_no_test_measures_without_a_promise():
    promised = {row["test"] for row in ROWS}
    for path in (ROOT / "tests" / "adversity").glob("test_*.py"):
        for function in re.findall(r"^(?:async )?def (test_\w+)\([^)]*\boutcome\b", path.read_text(), re.MULTILINE):
            assert f"tests/adversity/{path.name}::{function}" in promised


def test_the_commands_name_what_is_there():
    named = re.findall(r"(tests/[\w/]+(?:\.\w+)?)", PAGE)
    assert len(named) > 30
    for path in named:
        assert (ROOT / path).exists(), path
