"""Benchmark of server and agent under load beside their alternatives, interleaved in one run.

    make bench                              about 20 minutes; writes docs/internals/performance.md's table and plots
    make bench-quick                        about 1 minute; prints
    make bench ARGS="--rounds 1 --only echo"

Sides: `native` (our HTTP/2, pure Python), `compiled` (the same from the compiled wheel, in the rows that say most),
`grpcio` (the same programs on grpcio), `2 workers` (native, --workers=2), `haproxy` (two HAProxy processes with TLS
between them: the practical limit), `direct` (no proxy: the generator's own ceiling), and `reference`, as built by
tests/interop/reference.sh or named by KONNECTIVITY_REFERENCE_SERVER and KONNECTIVITY_REFERENCE_AGENT. What is missing
is said. Every figure is the median of the rounds; CPU seconds and memory come from the operating system.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import report, targets
from benchmarks.measurement import OURS, Bench, Scenario
from benchmarks.profiles import profiles
from benchmarks.scenarios import SCENARIOS
from benchmarks.sides import all_sides

RESULTS = Path(__file__).parent / "results"
OPEN_FILES = 65_536  # a proxy without multiplexing holds two for each of 10,000 connections


def run(chosen: list[Scenario], rounds: int, quick: bool, profiled: bool) -> report.Run:
    """Measure every side round after round; then, if wanted, sample the profiles of our own sides."""
    wanted = {side for scenario in chosen for side in scenario.sides}
    missing: list[str] = []
    with (
        targets.running() as ports,
        tempfile.TemporaryDirectory() as directory,
        all_sides(Path(directory), ports, wanted, missing) as sides,
    ):
        bench = Bench(ports, sides)
        rest = {side.name: side.memory_kib() for side in sides if side.pids}
        private = {side.name: side.private_kib() for side in sides if side.pids}
        names = {each.name for each in chosen}
        steps = [
            (each, side)
            for number in range(rounds)
            for each in chosen
            if each.of not in names
            for side in each.order(sides, 1 if quick else each.turns, number == 0)
        ]
        columns = (TextColumn("{task.description:<60}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=len(steps))
            for scenario, side in steps:
                progress.update(task, description=f"{scenario.name}: {side.name}")
                bench.measure(scenario, side)
                progress.advance(task)
        bench.results |= {each.name: bench.results[each.of] for each in chosen if each.of in names}
        sampled = "\n".join(profiles(bench, side) for side in sides if profiled and side.name in OURS)
        peaks = {side.name: side.peak_mib() for side in sides if side.pids}
        return report.Run(bench.results, peaks, rest, private, missing, rounds, sampled)


def allow_open_files() -> None:
    """Raise the limit of open files for this process and its children as far as the rights allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, OPEN_FILES), max(hard, OPEN_FILES)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--quick", action="store_true", help="the few that say most, once")
    parser.add_argument("--page", action="store_true", help="write docs/internals/performance.md's table and plots")
    asked = parser.parse_args()
    chosen = [each for each in SCENARIOS if asked.only in each.name and (each.quick or not asked.quick)]
    if not chosen:
        sys.exit(f"no scenario has {asked.only!r} in its name")
    allow_open_files()
    result = run(chosen, 1 if asked.quick else asked.rounds, asked.quick, asked.page)
    print(result.text())
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(result.document(), indent=1))
    if asked.page:
        report.write(result)


if __name__ == "__main__":
    main()
