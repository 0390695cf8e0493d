"""Profiles of server and agent in a scenario, sampled by py-spy from outside, kept as text.

Needs the right to trace other processes (root, as a rule); without it the text says so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.measurement import Bench, Scenario
from benchmarks.scenarios import SCENARIOS
from benchmarks.sides import Side

PROFILED = ("echo, latency", "echo, rate", "dials", "bulk", "mix", "neighbours")  # groups of scenarios
SECONDS = 3  # of sampling, while the scenario runs as often as it takes
SHOWN = 14  # functions
PY_SPY = Path(sys.executable).parent / "py-spy"


def profiles(bench: Bench, side: Side) -> str:
    """Return the functions on top of the stack, with native frames, for each scenario and program."""
    chosen = [each for each in SCENARIOS if each.group in PROFILED and side.name in bench.results.get(each.name, ())]
    return "\n".join(_profile(bench, side, each) for each in chosen if not each.of)


def _profile(bench: Bench, side: Side, scenario: Scenario) -> str:
    with tempfile.TemporaryDirectory() as directory:
        files = {what: Path(directory) / what for what in ("server", "agent")}
        asked = ["--duration", str(SECONDS), "--native", "--format", "raw"]
        spies = [
            subprocess.Popen(
                [PY_SPY, "record", "--pid", str(pid), "--output", str(path), *asked],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for pid, path in zip(side.pids, files.values(), strict=True)
        ]
        while any(spy.poll() is None for spy in spies):
            scenario.run(bench, side)
        return "\n".join(_text(f"{scenario.name}: {side.name}, {what}", path) for what, path in files.items())


def _text(title: str, path: Path) -> str:
    if not path.exists():
        return f"{title}\n  no profile: py-spy may not trace the process (it needs root)\n"
    leaves: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        leaves[stack.rpartition(";")[2]] += int(count)
    total = sum(leaves.values()) or 1
    lines = [f"  {count / total:4.0%}  {frame}" for frame, count in leaves.most_common(SHOWN)]
    return "\n".join([f"{title} ({total} samples)", *lines, ""])
