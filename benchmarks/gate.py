"""Gate of CI: the CPU time of an operation beside that at an earlier commit, which may not grow by more than 15 %.

    make gate                                      # about 50 s

Both versions run at the same time and take turns. A row's ratio is the smaller one of two: the ratio of the smallest
CPU times, since other programs on the machine add to it, and the median of the ratios of turns. A row above the limit
is measured once more, in twice the turns and with programs that are started anew; then it fails if it is above again.
"""

from __future__ import annotations

import math
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


def ratios(ports: dict[str, int], base: Path, rows: list[Scenario], turns: int) -> dict[str, float]:
    """Return for each row the ratio of this checkout's CPU time per operation to the base's."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        roots = {"base": base, "this": ROOT}
        sides = {name: start(stack, Path(directory) / name, name, ports, root) for name, root in roots.items()}
        bench = Bench(ports, list(sides.values()))
        return {row.name: _ratio(bench, row, turns) for row in rows}


def _ratio(bench: Bench, row: Scenario, turns: int) -> float:
    """Return the ratio of a row; infinity if no turn has the figures of both."""
    pairs: list[tuple[float, float]] = []
    for _ in range(turns):
        costs = {side.name: cpu_each(bench.measure(row, side)) for side in random.sample(bench.sides, len(bench.sides))}
        if (this := costs["this"]) and (base := costs["base"]):
            pairs.append((this, base))
    if not pairs:
        print(f"{row.name}: no figure: {bench.results[row.name]}", flush=True)
        return math.inf
    least = min(this for this, _ in pairs) / min(base for _, base in pairs)
    ratio = min(least, statistics.median(this / base for this, base in pairs))
    print(f"{row.name}: {ratio:.2f} times the CPU time of {BASE}", flush=True)
    return ratio


def main() -> None:
    rows = [each for each in SCENARIOS if each.name in ROWS]
    allow_open_files()
    with checkout(BASE) as base, running() as ports:
        above = _above(rows, ratios(ports, base, rows, TURNS))
        if above:
            print("once more:", flush=True)
            above = _above(above, ratios(ports, base, above, 2 * TURNS))
    if above:
        sys.exit(f"more than {MOST} times the CPU time of {BASE}: {', '.join(each.name for each in above)}")


def _above(rows: list[Scenario], found: dict[str, float]) -> list[Scenario]:
    return [each for each in rows if found[each.name] > MOST]


if __name__ == "__main__":
    main()
