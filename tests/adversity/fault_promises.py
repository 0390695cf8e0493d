"""What must hold when something goes wrong: promises.toml, and what a test found of it.

A test says what it measured through its `outcome`; more than was promised fails it. What was measured is kept as
properties of the test's report, from which `reliability` makes docs/operate/reliability.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
FILE = Path(__file__).with_name("promises.toml")
KINDS = ("detected_s", "recovered_s", "lost", "failed")


class Promise(NamedTuple):
    """One row: a fault, what holds, and the most that each kind of figure may be (None: nothing is measured)."""

    area: str
    fault: str
    holds: str
    test: str  # path::function
    detected_s: float | None = None
    recovered_s: float | None = None
    lost: int | None = None
    failed: int | None = None


def load() -> list[Promise]:
    """All rows, in the order of the file."""
    areas: dict[str, list[dict[str, Any]]] = tomllib.loads(FILE.read_text())
    return [Promise(area, **row) for area, rows in areas.items() for row in rows]


def of(node_id: str) -> Promise:
    """The row of a test, by pytest's name for it."""
    name = node_id.partition("[")[0]
    return next(each for each in load() if each.test == name)


class Outcome:
    """What a test measured.

    Args:
        promise: what must hold.
        record: pytest's `record_property`.
        strict: whether more than was promised is a failure.
    """

    def __init__(self, promise: Promise, record: Callable[[str, object], None], strict: bool) -> None:
        self.promise = promise
        self._record = record
        self._strict = strict

    def detected(self, seconds: float) -> None:
        """From the fault until it was known, or nobody suffered from it any more."""
        self._keep("detected_s", seconds)

    def recovered(self, seconds: float) -> None:
        """From the end of the fault until all was well."""
        self._keep("recovered_s", seconds)

    def lost(self, count: int) -> None:
        """What vanished, or came wrong, and nobody was told."""
        self._keep("lost", count)

    def failed(self, count: int, of: int) -> None:
        """Dials and connections that ended with an error, of how many."""
        self._keep("failed", count)
        self._record("of", of)

    def _keep(self, kind: str, value: float) -> None:
        self._record(kind, value)
        most = getattr(self.promise, kind)
        assert most is not None, f"promises.toml promises no {kind} for {self.promise.test}"
        assert not self._strict or value <= most, f"{kind}: {value:.3g}, and at most {most:g} was promised"
