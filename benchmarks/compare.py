"""Comparison of this checkout with another commit: ratios of speed and CPU time.

    make compare                                   # beside the last commit: what is not committed yet
    make compare BASE=HEAD~3 ARGS="--only 'echo 64 B, 32'"
    make compare ARGS="--compiled dist/konnectivity-0.1.0-cp311-cp311-linux_x86_64.whl"   # a wheel takes part

Speed changes from minute to minute, and from one start of a program to the next; so both versions are started anew for
each of some epochs, take turns within it in an order that is drawn, and only the two figures of one turn are compared:
the table has the median of these ratios (this / base), and the quarter and three quarters of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.bench import allow_open_files
from benchmarks.builds import ROOT, checkout, of_checkout, of_wheel, unpacked
from benchmarks.measurement import Bench, Result, Scenario, cpu_each
from benchmarks.scenarios import SCENARIOS
from benchmarks.sides import Side, haproxy_side, our_side
from benchmarks.targets import running

USUAL = (
    "echo 64 B, 1 connection",
    "echo 64 B, 32 connections",
    "connect + echo + close, CONNECT",
    "bulk down",
    "bulk down, 8 connections",
    "bulk up",
)
Ratios = dict[tuple[str, str], list[float]]  # (scenario, which figure): one for each turn


def epoch(ports: dict[str, int], roots: dict[str, Path], chosen: list[Scenario], turns: int, into: Ratios) -> None:
    """Start each version once and let the versions take turns; "haproxy" takes part like a version."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        names = random.sample(list(roots), len(roots))
        sides = {name: start(stack, Path(directory) / name, name, ports, roots[name]) for name in names}
        bench = Bench(ports, list(sides.values()))
        for scenario in chosen:
            for _ in range(turns):
                order = random.sample(names, len(names))
                results = {name: bench.measure(scenario, sides[name]) for name in order}
                compare(scenario, results, into)


def start(stack: ExitStack, directory: Path, name: str, ports: dict[str, int], root: Path) -> Side:
    if name == "haproxy":
        return haproxy_side(stack, directory, ports)
    return our_side(stack, directory, name, within=of_wheel(root) if name == "compiled" else of_checkout(root))


def compare(scenario: Scenario, results: dict[str, Result], into: Ratios) -> None:
    """Add the ratios of one turn to "base": of the scenario's figure, and of the CPU time per operation."""
    base = results["base"]
    for name, result in sorted(results.items(), reverse=True):  # "this" before "haproxy"
        if name == "base":
            continue
        if scenario.value in result and base.get(scenario.value):
            into[scenario.name, f"{name}: {scenario.unit}"].append(result[scenario.value] / base[scenario.value])
        cpu, base_cpu = cpu_each(result), cpu_each(base)
        if cpu is not None and base_cpu:
            into[scenario.name, f"{name}: CPU"].append(cpu / base_cpu)


def ours(scenario: Scenario) -> bool:
    """Return whether a scenario runs on the programs that are started here."""
    return "native" in scenario.sides and scenario.group != "agents"


def table(ratios: Ratios) -> str:
    lines = [f"{'scenario':<36}{'ratio to base':<18}{'median':>8}{'quarters':>16}{'turns':>7}"]
    for (scenario, what), found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4) if len(found) > 1 else found * 3
        lines.append(f"{scenario:<36}{what:<18}{middle:>8.3f}{f'{low:.3f} {high:.3f}':>16}{len(found):>7}")
    return "\n".join(lines)


def cpu_medians(ratios: Ratios) -> dict[str, float]:
    """Return for each scenario the median ratio of this checkout's CPU time per operation to the base's."""
    return {scenario: statistics.median(found) for (scenario, what), found in ratios.items() if what == "this: CPU"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HEAD", help="commit to compare with")
    parser.add_argument("--only", help="scenarios whose name contains this, not the usual ones")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--turns", type=int, default=4, help="of each scenario in an epoch")
    parser.add_argument(
        "--most-cpu", type=float, help="largest permitted ratio of CPU time per operation, in any scenario, to the base"
    )
    parser.add_argument("--compiled", type=Path, help="wheel that takes part: `make wheel-compiled` makes one")
    parser.add_argument("--haproxy", action="store_true", help="a pair of HAProxy processes takes part")
    asked = parser.parse_args()
    chosen = [s for s in SCENARIOS if (asked.only in s.name if asked.only else s.name in USUAL) and ours(s)]
    if not chosen:
        sys.exit(f"no scenario has {asked.only!r} in its name")
    allow_open_files()
    ratios: Ratios = defaultdict(list)
    with checkout(asked.base) as base, running() as ports, ExitStack() as stack:
        roots = {"base": base, "this": ROOT} | ({"haproxy": ROOT} if asked.haproxy else {})
        if asked.compiled:
            roots["compiled"] = stack.enter_context(unpacked(asked.compiled))
        for _ in track(range(asked.epochs), "comparing", console=Console(stderr=True)):
            epoch(ports, roots, chosen, asked.turns, ratios)
    print(table(ratios))
    slower = [what for what, cpu in cpu_medians(ratios).items() if asked.most_cpu and cpu > asked.most_cpu]
    if slower:
        sys.exit(f"more than {asked.most_cpu} times the CPU time of {asked.base}: {', '.join(slower)}")


if __name__ == "__main__":
    main()
