"""Profiles of server and agent in a scenario, sampled by py-spy from outside, kept as text.

    .venv/bin/python -m benchmarks.profiles     # sample again, and write the text and the page's table of layers

Needs the right to trace other processes (root, as a rule); without it the text says so. The samples of a program are
also summed up by layer: what is in the C library is almost all system calls, which a compiler cannot make shorter.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks import targets
from benchmarks.measurement import OURS, Bench, Scenario
from benchmarks.scenarios import SCENARIOS
from benchmarks.sides import Side, all_sides

PROFILED = ("echo, latency", "echo, rate", "dials", "bulk", "mix", "neighbours")  # groups of scenarios
SECONDS = 3  # of sampling, while the scenario runs as often as it takes
SHOWN = 14  # functions
PY_SPY = Path(sys.executable).parent / "py-spy"
LAYERS = {  # the first one that is found in the innermost frame of a sample counts; what is left is the interpreter's
    "kernel, C library": re.compile(r"\((libc|libpthread)\.so|\[vdso\]"),
    "TLS": re.compile(r"libcrypto|libssl|SSLProtocol|_ssl|sslproto"),
    "event loop": re.compile(
        r"\(loop\.c:|\((stream|linux|core|tcp|unix|async|timer|epoll|loop-watcher|handle)[\w-]*\.c:|uv__"
    ),
    "own code": re.compile(r"\(konnectivity|mypyc"),
}
REST = "interpreter"
PAGE = Path(__file__).parents[1] / "docs" / "internals" / "performance.md"
TEXT = PAGE.parent / "performance" / "profiles.txt"
BEGIN, END = "<!-- layers: begin -->", "<!-- layers: end -->"
_TITLE = re.compile(
    r"^(?P<scenario>.+): (?P<side>[\w ]+), (?P<program>server|agent) \(\d+ samples: (?P<shares>.+)\)$", re.M
)


def profiles(bench: Bench, side: Side) -> str:
    """Return the functions on top of the stack, with native frames, for each scenario and program."""
    chosen = [each for each in SCENARIOS if each.group in PROFILED and side.name in bench.results.get(each.name, ())]
    return "\n".join(_profile(bench, side, each) for each in chosen if not each.of)


def write(text: str) -> None:
    """Write the profiles, and the table of their layers into the page."""
    TEXT.write_text(text)
    page = PAGE.read_text()
    head, tail = page[: page.index(BEGIN)], page[page.index(END) :]
    PAGE.write_text(f"{head}{BEGIN}\n\n{layers_table(text)}\n\n{tail}")


def layers_table(text: str) -> str:
    """Return a table of the layers' shares in the samples of server and agent; of the compiled build if it is there.

    The table has the scenarios with a target for CPU time.
    """
    aimed = {each.name for each in SCENARIOS if each.cpu_targets}
    found: dict[str, dict[str, dict[str, str]]] = {}  # scenario -> program -> layer -> share
    titles = list(_TITLE.finditer(text))
    side = next((each for each in reversed(OURS) if any(title["side"] == each for title in titles)), "")
    for title in titles:
        if title["side"] == side and title["scenario"] in aimed:
            shares = dict(each.rsplit(" ", 1) for each in title["shares"].split("; "))
            found.setdefault(title["scenario"], {})[title["program"]] = shares
    columns = [*LAYERS, REST]
    rows = []
    for scenario, programs in found.items():
        cells = [
            " / ".join(programs.get(each, {}).get(layer, "0%") for each in ("server", "agent")) for layer in columns
        ]
        rows.append(f"| {scenario} | {' | '.join(cells)} |")
    return "\n".join([f"| {side}: server / agent | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}", *rows])


def layer_of(frame: str) -> str:
    """Return the layer of the innermost frame of a sample."""
    return next((layer for layer, found in LAYERS.items() if found.search(frame)), REST)


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
    layers: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frame = stack.rpartition(";")[2]
        leaves[frame] += int(count)
        layers[layer_of(frame)] += int(count)
    total = sum(leaves.values()) or 1
    shares = "; ".join(f"{layer} {layers[layer] / total:.0%}" for layer in (*LAYERS, REST) if layers[layer])
    lines = [f"  {count / total:4.0%}  {frame}" for frame, count in leaves.most_common(SHOWN)]
    return "\n".join([f"{title} ({total} samples: {shares})", *lines, ""])


def main() -> None:
    chosen = [each for each in SCENARIOS if each.group in PROFILED]
    missing: list[str] = []
    with (
        targets.running() as ports,
        tempfile.TemporaryDirectory() as directory,
        all_sides(Path(directory), ports, set(OURS), missing) as sides,
    ):
        bench = Bench(ports, sides)
        bench.results |= {each.name: {side: [] for side in OURS if side in each.sides} for each in chosen}
        write("\n".join(profiles(bench, side) for side in sides if side.name in OURS))
    for each in missing:
        print(each)


if __name__ == "__main__":
    main()
