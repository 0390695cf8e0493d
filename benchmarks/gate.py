"""Gate of CI: the CPU time of an operation beside that at an earlier commit, which may not grow by more than 15 %.

    make gate                                      # about 50 s

Both versions run at the same time and take turns. A row's ratio is the smaller one of two: the ratio of the smallest
CPU times, since other programs on the machine add to it, and the median of the ratios of turns. A row above the limit
is measured once more, with programs that are started anew, and fails if it is above the limit again.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bench import allow_open_files
from benchmarks.builds import ROOT, checkout
from benchmarks.compare import start
from benchmarks.measurement import Bench, Scenario, cpu_each
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import running

BASE = "3dc0216"  # moved to a later commit with each release, and when a row became cheaper
MOST = 1.15
TURNS = 3
ROWS = (
    "echo 64 B, 32 connections",
    "connect + echo + close, CONNECT",
    "the same, gRPC, a tunnel for each",
    "bulk down",
)


def ratios(ports: dict[str, int], base: Path, rows: list[Scenario]) -> dict[str, float]:
    """Return for each row the ratio of this checkout's CPU time per operation to the base's."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        roots = {"base": base, "this": ROOT}
        sides = {name: start(stack, Path(directory) / name, name, ports, root) for name, root in roots.items()}
        bench = Bench(ports, list(sides.values()))
        return {row.name: _ratio(bench, row) for row in rows}


def _ratio(bench: Bench, row: Scenario) -> float:
    costs: dict[str, list[float]] = {side.name: [] for side in bench.sides}
    for _ in range(TURNS):
        for side in random.sample(bench.sides, len(bench.sides)):
            result = bench.measure(row, side)
            cost = cpu_each(result)
            if cost is None:
                sys.exit(f"{row.name}: no figure of {side.name}: {result}")
            costs[side.name].append(cost)
    turns = [this / base for this, base in zip(costs["this"], costs["base"], strict=True)]
    ratio = min(min(costs["this"]) / min(costs["base"]), statistics.median(turns))
    print(f"{row.name}: {ratio:.2f} times the CPU time of {BASE}", flush=True)
    return ratio


def main() -> None:
    rows = [each for each in SCENARIOS if each.name in ROWS]
    allow_open_files()
    with checkout(BASE) as base, running() as ports:
        above = _above(rows, ratios(ports, base, rows))
        if above:
            print("once more:", flush=True)
            above = _above(above, ratios(ports, base, above))
    if above:
        sys.exit(f"more than {MOST} times the CPU time of {BASE}: {', '.join(each.name for each in above)}")


def _above(rows: list[Scenario], found: dict[str, float]) -> list[Scenario]:
    return [each for each in rows if found[each.name] > MOST]


if __name__ == "__main__":
    main()
