"""Server and agent under load, beside their alternatives, interleaved in one run.

    make bench                            the table of benchmarks/README.md, about 5 minutes
    make bench ARGS="--rounds 1 --only echo"

Sides: `native` (our HTTP/2), `grpcio` (the same programs on grpcio), `established` (ours without the extension, as with
a peer of another kind), `direct` (no proxy: the generator's own ceiling), and `reference` if
KONNECTIVITY_REFERENCE_SERVER and KONNECTIVITY_REFERENCE_AGENT name its two programs. What is missing is said.

Every figure is the median of the rounds; CPU seconds come from the operating system, of server and agent each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.load import Way
from konnectivity.testing.delay import DelayedLine
from konnectivity.testing.deployment import Deployment

RESULTS = Path(__file__).parent / "results"
DELAYS_MS = (0, 50)  # of a line between agent and server; 0 shows what the line itself costs


@dataclass
class Side:
    """A way to the targets, and the processes on it."""

    name: str
    to: str
    pids: list[int] = field(default_factory=list)
    restart: Callable[[], None] | None = None  # a killed agent

    def cpu_s(self) -> list[float]:
        return [_cpu_s(pid) for pid in self.pids]


@dataclass
class Scenario:
    """One row of the table."""

    name: str
    unit: str
    value: str  # which figure of the generator's answer is the row's
    run: Callable[[Bench, Side], dict[str, Any]]
    sides: tuple[str, ...] = ("native", "grpcio", "reference", "direct")


class Bench:
    """Targets, sides and results of one run."""

    def __init__(self, ports: dict[str, int], sides: list[Side]) -> None:
        self.ports = ports
        self.sides = sides
        self.results: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def measure(self, scenario: Scenario, side: Side) -> None:
        before, started = side.cpu_s(), time.monotonic()
        try:
            result = scenario.run(self, side)
        except (OSError, subprocess.TimeoutExpired) as error:  # a side that stops is a result, too
            result = {"error": f"stopped: {error}"}
        result["cpu_s"] = [round(after - start, 3) for after, start in zip(side.cpu_s(), before, strict=True)]
        result["seconds"] = time.monotonic() - started
        self.results.setdefault(scenario.name, {}).setdefault(side.name, []).append(result)

    def load(self, side: Side, scenario: str, target: str, **arguments: float) -> dict[str, Any]:
        """Run the generator to its end."""
        return _answer(self.start_load(side, scenario, target, **arguments))

    def start_load(self, side: Side, scenario: str, target: str, **arguments: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.load", scenario, "--to", side.to]
        command += ["--port", str(self.ports[target])]
        command += [f"--{name}={value}" for name, value in arguments.items()]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=60)
    if process.returncode:
        return {"error": f"exit code {process.returncode}"}
    result: dict[str, Any] = json.loads(output)
    return result


def _stalled(count: int, target: str) -> Callable[[Bench, Side], dict[str, Any]]:
    """An echo beside connections that nobody reads: uploads to a sleeping target, or downloads by a sleeping client."""

    def run(bench: Bench, side: Side) -> dict[str, Any]:
        with contextlib.ExitStack() as stack:
            way = Way(side.to, bench.ports[target])
            sockets = [stack.enter_context(way.blocking()) for _ in range(count)]
            if target == "sleeper":
                _fill(sockets)
            time.sleep(1.0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process = bench.start_load(side, "echo", "echo", connections=1, count=2000)
                stack.callback(process.kill)
                output, _ = process.communicate(timeout=15)
                result: dict[str, Any] = json.loads(output) if process.returncode == 0 else {"error": "failed"}
                return result
            return {"error": "no echo in 15 s"}

    return run


def _fill(sockets: list[Any]) -> None:
    """Send on all of them until nothing is taken for a while."""
    for sock in sockets:
        sock.setblocking(False)
    last = time.monotonic()
    while time.monotonic() - last < 0.5:
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(bytes(256 * 1024))
                last = time.monotonic()
        time.sleep(0.01)


def _echo_beside_bulk(bench: Bench, side: Side) -> dict[str, Any]:
    bulk = bench.start_load(side, "down", "source", seconds=5)
    time.sleep(1.0)
    result = bench.load(side, "echo", "echo", connections=1, count=2000)
    result["bulk"] = _answer(bulk)
    return result


def _idle_echo(bench: Bench, side: Side) -> dict[str, Any]:
    return bench.load(side, "echo", "echo", connections=1, count=5000)


UPLOADS = 300


def _uploads(scenario: str) -> Callable[[Bench, Side], dict[str, Any]]:
    return lambda b, s: b.load(s, scenario, "judge", count=UPLOADS, verdict=b.ports["verdict"])


def _killed(bench: Bench, side: Side) -> dict[str, Any]:
    """Milliseconds from the death of the agent until a client in mid-download sees the end of it."""
    if side.restart is None:
        return {"error": "-"}
    try:
        with Way(side.to, bench.ports["source"]).blocking() as sock:
            for _ in range(100):
                sock.recv(1 << 18)
            os.kill(side.pids[1], signal.SIGKILL)
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while sock.recv(1 << 20):
                    pass
            return {"ms": (time.monotonic() - started) * 1000}
    finally:
        side.restart()


SCENARIOS = [
    Scenario("echo 64 B, 1 connection", "p50 us", "p50_us", _idle_echo),
    Scenario("echo 64 B, 1 connection, p99", "p99 us", "p99_us", _idle_echo),
    Scenario(
        "echo 64 B, 32 connections", "1/s", "per_s", lambda b, s: b.load(s, "echo", "echo", connections=32, count=1500)
    ),
    Scenario(
        "connect + echo + close, 8 at a time",
        "1/s",
        "per_s",
        lambda b, s: b.load(s, "dials", "echo", connections=8, count=3000),
    ),
    Scenario("bulk down", "MiB/s", "mib_per_s", lambda b, s: b.load(s, "down", "source", seconds=3)),
    Scenario("bulk up", "MiB/s", "mib_per_s", lambda b, s: b.load(s, "up", "sink")),
    Scenario("echo beside bulk down, p99", "p99 us", "p99_us", _echo_beside_bulk),
    Scenario("echo beside 1 stalled download, p99", "p99 us", "p99_us", _stalled(1, "source")),
    Scenario("echo beside 100 stalled downloads, p99", "p99 us", "p99_us", _stalled(100, "source")),
    Scenario("echo beside 1 stalled upload, p99", "p99 us", "p99_us", _stalled(1, "sleeper")),
    Scenario("echo beside 100 stalled uploads, p99", "p99 us", "p99_us", _stalled(100, "sleeper")),
    Scenario(f"{UPLOADS} uploads, closed at once: whole", "of them", "whole", _uploads("uploads")),
    Scenario(f"{UPLOADS} uploads, half-closed: answers right", "of them", "whole", _uploads("answers")),
    Scenario("agent killed: download ends after", "ms", "ms", _killed, ("native", "grpcio", "reference")),
    *(
        Scenario(
            f"bulk down, {delay} ms round trip",
            "MiB/s",
            "mib_per_s",
            lambda b, s: b.load(s, "down", "source", seconds=5),
            tuple(f"{name}, {delay} ms" for name in ("native", "grpcio", "direct")),
        )
        for delay in DELAYS_MS
    ),
]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextlib.contextmanager
def sides_of(directory: Path, ports: dict[str, int]) -> Iterator[list[Side]]:
    """Start every side there is; stop them all at the end."""
    with contextlib.ExitStack() as stack:
        sides = [Side("direct", "direct")]
        for name, more in (("native", []), ("grpcio", ["--grpc-implementation=grpcio"])):
            sides.append(_ours(stack, directory / name, name, more))
            sides += [_delayed(stack, directory / f"{name}-{delay}", name, delay, more) for delay in DELAYS_MS]
        for delay in DELAYS_MS:
            line = stack.enter_context(DelayedLine(("127.0.0.1", ports["source"]), delay / 1000))
            sides.append(Side(f"direct, {delay} ms", f"direct:{line.port}"))
        if reference.programs():
            sides.append(_reference(stack, directory / "reference"))
        else:
            print(reference.MISSING)
        yield sides


def _ours(stack: contextlib.ExitStack, directory: Path, name: str, more: list[str]) -> Side:
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    server = deployment.start_server("-v=0", "--mode=http-connect", *more)
    side = Side(name, f"unix:{deployment.socket}", [server.pid, 0])

    def start() -> None:
        side.pids[1] = deployment.start_agent("-v=0", *more).pid

    start()
    side.restart = start
    return side


def _delayed(stack: contextlib.ExitStack, directory: Path, name: str, delay_ms: int, more: list[str]) -> Side:
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    server = deployment.start_server("-v=0", "--mode=http-connect", *more)
    line = stack.enter_context(DelayedLine(("127.0.0.1", deployment.agent_port), delay_ms / 1000))
    agent = deployment.start_agent("-v=0", *more, port=line.port)
    return Side(f"{name}, {delay_ms} ms", f"unix:{deployment.socket}", [server.pid, agent.pid])


def _reference(stack: contextlib.ExitStack, directory: Path) -> Side:
    deployment = Deployment(directory)
    stack.callback(deployment.stop)
    processes = []
    for start in (reference.start_server, reference.start_agent):
        processes.append(start(deployment).pid)
        time.sleep(2)
    side = Side("reference", f"unix:{deployment.socket}", processes)

    def restart() -> None:
        side.pids[1] = reference.start_agent(deployment).pid
        time.sleep(2)

    side.restart = restart
    return side


def table(bench: Bench) -> str:
    """The results as a Markdown table: the median, and CPU microseconds (or seconds a GiB) of server + agent."""
    names = list(dict.fromkeys(side.name.partition(",")[0] for side in bench.sides))
    lines = ["| scenario | unit | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for scenario in SCENARIOS:
        by_side = bench.results.get(scenario.name, {})
        if by_side:
            found = {side.partition(",")[0]: _cell(scenario, runs) for side, runs in by_side.items()}
            cells = [found.get(name, "-") for name in names]
            lines.append(f"| {scenario.name} | {scenario.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(scenario: Scenario, runs: list[dict[str, Any]]) -> str:
    values = [run[scenario.value] for run in runs if scenario.value in run]
    if not values:
        return str(runs[0].get("error", "failed"))
    text = f"{statistics.median(values):,.0f}"
    done = [run for run in runs if run.get("operations") and run["cpu_s"]]
    if not done or scenario.unit.startswith("p99"):
        return text
    if scenario.unit == "MiB/s":
        costs = [statistics.median(run["cpu_s"][i] / run["operations"] for run in done) for i in (0, 1)]
        return f"{text} ({costs[0]:.1f} + {costs[1]:.1f} s/GiB)"
    costs = [statistics.median(run["cpu_s"][i] / run["operations"] * 1e6 for run in done) for i in (0, 1)]
    return f"{text} ({costs[0]:.0f} + {costs[1]:.0f} us)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    arguments = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if arguments.only in scenario.name]
    targets = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.targets"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert targets.stdout is not None
    ports = json.loads(targets.stdout.readline())
    try:
        with tempfile.TemporaryDirectory() as directory, sides_of(Path(directory), ports) as sides:
            bench = Bench(ports, sides)
            steps = [(r, c, s) for r in range(arguments.rounds) for c in chosen for s in sides if s.name in c.sides]
            for number, (_, scenario, side) in enumerate(steps, 1):
                print(
                    f"\r[{number}/{len(steps)}] {scenario.name}: {side.name:<20}", end="", file=sys.stderr, flush=True
                )
                bench.measure(scenario, side)
            print(file=sys.stderr)
            peaks = {side.name: [round(_peak_mib(pid)) for pid in side.pids] for side in sides if side.pids}
            print(table(bench))
            print(f"\npeak memory, MiB, server and agent: {peaks}")
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / "latest.json").write_text(json.dumps({"results": bench.results, "peak_mib": peaks}, indent=1))
    finally:
        targets.communicate(timeout=10)


if __name__ == "__main__":
    main()
