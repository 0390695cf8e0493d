"""Promises about faults, read from promises.toml, and the recorder of the figures that a test measured.

A test reports figures through its `outcome`; a figure above the promised maximum fails the test. Figures are kept as
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
    """One row: a fault, the promise, and the maximum of each kind of figure (None: not measured)."""

    area: str
    fault: str
    holds: str
    test: str  # path::function
    detected_s: float | None = None
    recovered_s: float | None = None
    lost: int | None = None
    failed: int | None = None


def load() -> list[Promise]:
    """Return all rows in the order of the file."""
    areas: dict[str, list[dict[str, Any]]] = tomllib.loads(FILE.read_text())
    return [Promise(area, **row) for area, rows in areas.items() for row in rows]


def of(node_id: str) -> Promise:
    """Return the row of the test with this pytest node id."""
    name = node_id.partition("[")[0]
    return next(each for each in load() if each.test == name)


class Outcome:
    """Recorder of the figures that one test measured.

    Args:
        promise: the promise that the test checks.
        record: pytest's `record_property`.
        strict: whether a figure above the promised maximum is a failure.
    """

    def __init__(self, promise: Promise, record: Callable[[str, object], None], strict: bool) -> None:
        self.promise = promise
        self._record = record
        self._strict = strict

    def detected(self, seconds: float) -> None:
        """Record the seconds from the fault until it was detected or no client was affected any more."""
        self._keep("detected_s", seconds)

    def recovered(self, seconds: float) -> None:
        """Record the seconds from the end of the fault until the deployment worked normally again."""
        self._keep("recovered_s", seconds)

    def lost(self, count: int) -> None:
        """Record the number of bytes or connections that were lost or corrupted without an error."""
        self._keep("lost", count)

    def failed(self, count: int, of: int) -> None:
        """Record how many dials and connections ended with an error, and how many there were."""
        self._keep("failed", count)
        self._record("of", of)

    def _keep(self, kind: str, value: float) -> None:
        self._record(kind, value)
        most = getattr(self.promise, kind)
        assert most is not None, f"promises.toml promises no {kind} for {self.promise.test}"
        assert not self._strict or value <= most, f"{kind}: {value:.3g}, and at most {most:g} was promised"
