"""Tests of docs/secure/limits.md: flags, defaults and metrics exist, each limit has a test, no limit is missing."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime.options import declared
from konnectivity_server.server_options import ServerOptions
from support.checkout import DOCS, ROOT

PAGE = (DOCS / "secure" / "limits.md").read_text()
PROOF = (DOCS / "secure" / "limit-tests.md").read_text()
SOURCES = "\n".join(
    path.read_text()
    for directory in ("konnectivity", "server", "agent")
    for path in (ROOT / directory).rglob("*.py")
    if "testing" not in path.parts
)
COUNTED = re.compile(r'(?:reached\[|\.fault\()"(\w+)"')
CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    limit: str
    default: str
    metric: str
    then: str


def rows() -> list[Row]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:2] == "| "]
    return [Row(*each) for each in cells if len(each) == len(Row._fields) and each[0] != "limit"]


ROWS = rows()
FLAG = re.compile(r"`(--[\w-]+)`")
OPTIONS = {f"--{each.flag}": each for options in (ForwardOptions, ServerOptions) for each in declared(options)}


@pytest.mark.parametrize("row", [row for row in ROWS if FLAG.search(row.default)], ids=lambda row: row.limit[:40])
def test_flag_and_default(row: Row) -> None:
    option = OPTIONS[FLAG.findall(row.default)[0]]
    assert option.kind.write(option.default) == row.default.split()[0].rstrip(",")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.limit[:40])
def test_metric(row: Row) -> None:
    name = CODE.findall(row.metric)[0]
    assert (
        name in COUNTED.findall(SOURCES)
        or f'"{name}"' in SOURCES
        or f'{{program}}_{name.partition("_")[2]}"' in SOURCES
    )


def test_no_counted_limit_is_missing() -> None:
    assert len(ROWS) > 20
    shown = {CODE.findall(row.metric)[0] for row in ROWS}
    assert set(COUNTED.findall(SOURCES)) - shown == set()


def test_no_flag_of_the_group_is_missing() -> None:
    group = {f"--{each.flag}" for each in declared(ServerOptions) if (each.group or "").startswith("Limits")}
    assert "--max-connections-per-source" in group
    assert group <= {flag for row in ROWS for flag in FLAG.findall(row.default)}


def test_each_limit_has_a_test_on_the_other_page() -> None:
    proved = re.findall(r"^\| ([^|]+) \| `tests/[^|]+ \|$", PROOF, re.MULTILINE)
    assert proved[: len(ROWS)] == [row.limit for row in ROWS]


def test_the_tests_are_there() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", PAGE + PROOF)
    assert len(named) > 25
    for path, function in named:
        text = (ROOT / path).read_text()
        assert not function or f"def {function}(" in text, (path, function)
