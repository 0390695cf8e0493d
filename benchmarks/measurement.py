"""Measurement of scenarios: a row of the report, and the bench that runs it against one side.

A result is a dict of figures; `operations` is what CPU time is divided by (GiB for bulk).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.sides import Side
from konnectivity.untrusted.untrusted_text import visible

MAIN = ("direct", "haproxy", "native", "grpcio", "reference")
OURS = ("native", "compiled")  # that take as many turns as the sides they are compared with
ERROR_CHARACTERS = 80  # of an error in a cell of the table
LOAD_TIMEOUT_S = 90

Result = dict[str, Any]
Run = Callable[["Bench", Side], Result]


def cpu_each(result: Result) -> float | None:
    """Return the CPU seconds of both programs per operation, or None if either is unknown."""
    return sum(result["cpu_s"]) / result["operations"] if result.get("operations") and result.get("cpu_s") else None


@dataclass(frozen=True)
class Scenario:
    """Row of the report.

    Args:
        name: name of the row.
        unit: unit of its figure.
        value: key of the figure in a result.
        run: function that measures the scenario once.
        group: title of the plot that shows the row.
        sides: names of the sides that are measured.
        better: "more" or "less": the direction in which the figure is better.
        quick: whether `make bench-quick` measures the row.
        targets: pairs of a side and the ratio of native's figure to that side's which is to be reached.
        cpu_targets: pairs of a side and the largest permitted ratio of CPU time per operation to that side's.
        turns: runs in a round of each side that has a target; each other side has one run.
        of: name of the scenario from whose results the figure is taken; empty: the row has runs of its own.
        once: whether only the first round measures the row, whose results hardly differ.

    """

    name: str
    unit: str
    value: str
    run: Run
    group: str
    sides: tuple[str, ...] = MAIN
    better: str = "more"
    quick: bool = False
    targets: tuple[tuple[str, float], ...] = ()
    cpu_targets: tuple[tuple[str, float], ...] = ()
    turns: int = 1
    of: str = ""
    once: bool = False

    def order(self, sides: Sequence[Side], turns: int, first: bool) -> list[Side]:
        """Return the sides of a round in their order. The generator without a proxy runs in the first round only."""
        if self.once and not first:
            return []
        all_once = [side for side in sides if side.name in self.sides and (first or not side.name.startswith("direct"))]
        compared = {*OURS, *(name for name, _ in (*self.targets, *self.cpu_targets))}
        return all_once + (turns - 1) * [side for side in all_once if side.name in compared]


@dataclass
class Bench:
    """Targets and sides of one run, and the load on them."""

    ports: dict[str, int]
    sides: list[Side]
    results: dict[str, dict[str, list[Result]]] = field(default_factory=dict)

    def measure(self, scenario: Scenario, side: Side) -> Result:
        """Run a scenario once on a side; a side that stops counts as a result, too."""
        pids, before, started = list(side.pids), side.cpu_s(), time.monotonic()
        try:
            result = scenario.run(self, side)
        except (OSError, subprocess.SubprocessError) as error:
            result = {"error": f"stopped: {visible(_reason(error), ERROR_CHARACTERS)}"}
        if side.pids == pids:
            result["cpu_s"] = [round(after - start, 3) for after, start in zip(side.cpu_s(), before, strict=True)]
        result["seconds"] = time.monotonic() - started
        self.results.setdefault(scenario.name, {}).setdefault(side.name, []).append(result)
        return result

    def load(self, side: Side, scenario: str, target: str, to: str = "", **arguments: float) -> Result:
        """Run the load generator to its end."""
        return answer(self.start_load(side, scenario, target, to, **arguments))

    def start_load(
        self, side: Side, scenario: str, target: str, to: str = "", **arguments: float
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.load", scenario, "--to", to or side.to]
        command += [f"--port={self.port(side, target)}", *(f"--{name}={value}" for name, value in arguments.items())]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def port(self, side: Side, target: str) -> int:
        return side.ports.get(target, self.ports[target])


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """Return why a scenario stopped: of a program that failed, the last line of its output."""
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).splitlines()[-1]
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no result in {error.timeout:.0f} s"
    return str(error)


def answer(process: subprocess.Popen[str]) -> Result:
    output, _ = process.communicate(timeout=LOAD_TIMEOUT_S)
    if process.returncode:
        return {"error": f"the load generator failed with exit code {process.returncode}"}
    result: Result = json.loads(output.splitlines()[-1])
    return result
