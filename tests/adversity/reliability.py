"""Writer of docs/operate/reliability.md from the measurements of this folder: `make reliability`.

A pytest plugin, loaded by `-p reliability`, that writes the page if every test that ran has passed and every
promise was tested.
"""

from __future__ import annotations

import os
import platform
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from fault_promises import KINDS, ROOT, Promise, load

from benchmarks import reference

PAGE = ROOT / "docs" / "operate" / "reliability.md"
TEMPLATE = Path(__file__).with_suffix(".md")
OURS, REFERENCE = "ours", "reference"
HEAD = ("fault", "promise", "detection", "recovery", "lost", "failed")


class Measured(NamedTuple):
    """Worst figure of one kind that one test found."""

    value: float
    of: int | None = None


class Reliability:
    """Collector of the figures of all tests in a run."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Measured]] = defaultdict(dict)  # by test and programs
        self.bad = 0

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed or report.skipped:
            self.bad += 1
        if report.when != "call":
            return
        properties = list(report.user_properties)
        whose = next((value for name, value in properties if name == "programs"), OURS)
        row = self.found[report.nodeid.partition("[")[0], whose]
        for index, (name, value) in enumerate(properties):
            if name in KINDS:
                of = next((each for other, each in properties[index + 1 : index + 2] if other == "of"), None)
                row[name] = max(row.get(name, Measured(-1)), Measured(value, of))

    def pytest_sessionfinish(self, session, exitstatus) -> None:
        missing = [row.test for row in load() if (row.test, OURS) not in self.found]
        if self.bad or exitstatus or missing:
            print(
                f"\n{PAGE.name} is not written: {self.bad} failed or skipped, not run: {', '.join(missing) or 'none'}"
            )
        else:
            PAGE.write_text(self.page())

    def page(self) -> str:
        compared = any(whose == REFERENCE for _, whose in self.found)
        head = (*HEAD, *(["the reference"] if compared else []), "command")
        areas: dict[str, list[str]] = {}
        for row in load():
            ours = self.found[row.test, OURS]
            cells = [row.fault, row.holds, *(_cell(kind, ours, row) for kind in KINDS)]
            if compared:
                cells.append(_beside(self.found.get((row.test, REFERENCE))))
            cells.append(f"`.venv/bin/pytest -q {row.test}`")
            areas.setdefault(row.area, []).append(_line(cells))
        tables = [
            "\n".join((f"## {area.capitalize()}", "", _line(head), _line(["---"] * len(head)), *rows))
            for area, rows in areas.items()
        ]
        machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        return TEMPLATE.read_text().format(
            tables="\n\n".join(tables), machine=machine, reference="" if compared else NOT_COMPARED
        )


NOT_COMPARED = f"""
The reference was not measured: its programs were not available. Tests that observe from outside can run on both, and
the tables then have a column for it, if {reference.VARIABLES[0]} and
{reference.VARIABLES[1]} name its two programs (`make reliability`).
"""


def _cell(kind: str, found: dict[str, Measured], row: Promise) -> str:
    most = getattr(row, kind)
    if kind not in found or most is None:
        return ""
    return f"{_figure(kind, found[kind])} ({'≤ ' if most else ''}{most:g}{' s' if kind.endswith('_s') else ''})"


def _figure(kind: str, measured: Measured) -> str:
    if kind.endswith("_s"):
        return f"{measured.value:.2f} s"
    return f"{measured.value:g}" + (f" of {measured.of}" if measured.of is not None else "")


def _beside(found: dict[str, Measured] | None) -> str:
    if found is None:
        return ""
    names = dict(zip(KINDS, HEAD[2:], strict=True))
    return "; ".join(f"{names[kind]} {_figure(kind, found[kind])}" for kind in KINDS if kind in found)


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def pytest_configure(config) -> None:
    config.pluginmanager.register(Reliability(), "reliability-page")
