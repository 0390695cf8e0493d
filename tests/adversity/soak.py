"""Soak test with all faults at once, of any duration: `python tests/adversity/soak.py --minutes 30 [--seed N]`.

Clients dial and transfer while lines and programs fail (soak_plan.py). Then all faults are healed, and the state from
before must return: the same file descriptors, tasks and threads, similar memory, all gauges of open objects at zero. A
byte that is wrong or missing without an error, a client that hangs, a program that ends, and a traceback are failures.

Exit code 0: no defect was found; 1: the defects found are printed with the seed. Uses loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from fault_site import ERRORS, Site, descriptors, get, metrics, until
from soak_plan import SURVIVORS, VICTIM, Deed, Step, deeds, steps

from konnectivity.client import ClientTunnel, DialError, connect
from konnectivity.testing.deployment import ProgramProcess
from support import targets
from support.faulty_line import FaultyLine

WORKERS = 8
WARM_DEEDS = 10  # deeds of each client before the first fault, which fill caches and buffers
CALM_DEEDS = 5  # deeds of each client after the last fault, all of which must succeed
DEED_S = 60.0  # timeout of a deed: longer than any promise of docs/operate/reliability.md
REST_S = 60.0
MEMORY_SLACK = 32 << 20  # bytes that a burst may leave in the heap; more is a leak, whatever the duration
FLAGS = ("--heartbeat-interval=1s", "--enable-profiling")


@dataclass
class Report:
    """Record of a soak: the faults, the deeds, their outcomes and the defects found."""

    seed: int
    steps: list[Step] = field(default_factory=list)
    deeds: dict[int, list[Deed]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


class Wrong(Exception):
    """Defect that must never occur: wrong bytes, or an end where an error is due."""


class Clients:
    """Clients of the site, which perform the planned deeds."""

    def __init__(self, site: Site, report: Report, where: dict[str, str]) -> None:
        self.enough = False
        self.strict = False  # whether every deed must succeed
        self._site = site
        self._report = report
        self._where = where
        self._plans = {number: deeds(report.seed, number) for number in range(WORKERS)}

    async def do(self, count: int | None = None) -> None:
        """Perform `count` deeds per client, or, without a count, as many as fit until `enough` is set."""
        async with asyncio.TaskGroup() as tasks:
            for number in self._plans:
                tasks.create_task(self._work(number, count), name=f"client {number}")

    async def _work(self, number: int, count: int | None) -> None:
        for _ in itertools.count() if count is None else range(count):
            if self.enough:
                return
            deed = next(self._plans[number])
            self._report.deeds.setdefault(number, []).append(deed)
            await asyncio.sleep(deed.pause_s)
            await self._one(number, deed)

    async def _one(self, number: int, deed: Deed) -> None:
        try:
            async with asyncio.timeout(DEED_S), connect(**self._site.frontend(deed.mode, deed.unix)) as tunnel:
                await getattr(self, f"_{deed.kind}")(tunnel, deed)
            self._report.outcomes["good"] += 1
        except Wrong as error:
            self._report.found.append(f"client {number}, {deed}: {error}")
        except TimeoutError:
            self._report.found.append(f"client {number}, {deed}: nothing for {DEED_S:g} s")
        except ERRORS as error:
            self._report.outcomes["failed"] += 1
            if self.strict:
                self._report.found.append(f"client {number}, {deed}: failed after all was healed: {error!r}")

    async def _echo(self, tunnel: ClientTunnel, deed: Deed) -> None:
        reader, writer = await tunnel.dial(self._where["echo"])
        try:
            said = b"".join(targets.pattern(deed.size))
            writer.write(said)
            await self._hear(reader, deed, said)
        finally:
            writer.close()

    async def _download(self, tunnel: ClientTunnel, deed: Deed) -> None:
        reader, writer = await tunnel.dial(self._where["source"])
        received = await reader.read(-1)
        writer.close()
        whole = b"".join(targets.pattern(LENGTH))
        if received != whole[: len(received)]:
            raise Wrong("other bytes came")
        if len(received) < len(whole):
            self._cut(deed, len(received))
            raise ConnectionResetError("cut")

    async def _upload(self, tunnel: ClientTunnel, deed: Deed) -> None:
        reader, writer = await tunnel.dial(self._where["digest"])
        for piece in targets.pattern(deed.size):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        answer = (await reader.read()).decode().strip()
        writer.close()
        if answer != targets.pattern_digest(deed.size):
            self._cut(deed, len(answer))
            if answer:
                raise Wrong(f"the target received something else: {answer}")
            raise ConnectionResetError("cut")

    async def _abort(self, tunnel: ClientTunnel, deed: Deed) -> None:
        _, writer = await tunnel.dial(self._where["echo"])
        writer.write(bytes(deed.size))
        writer.transport.abort()

    async def _refused(self, tunnel: ClientTunnel, deed: Deed) -> None:
        try:
            await tunnel.dial("127.0.0.1:1")
        except DialError as error:
            if self.strict and "connection refused" not in str(error):
                raise
            return
        raise Wrong("nobody listens there, and the dial succeeded")

    async def _idle(self, tunnel: ClientTunnel, deed: Deed) -> None:
        reader, writer = await tunnel.dial(self._where["echo"])
        try:
            await asyncio.sleep(min(deed.size / 1000, 3.0))
            writer.write(b"still here")
            await self._hear(reader, deed, b"still here")
        finally:
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader, deed: Deed, said: bytes) -> None:
        try:
            if await reader.readexactly(len(said)) != said:
                raise Wrong("the echo is another")
        except asyncio.IncompleteReadError as error:
            self._cut(deed, len(error.partial))
            raise

    def _cut(self, deed: Deed, received: int) -> None:
        """Raise `Wrong` for a clean end in place of an error, except on a unix socket, which knows no reset."""
        if (deed.mode, deed.unix) != ("http-connect", True):
            raise Wrong(f"a clean end after {received} bytes, and more should have come")


LENGTH = 300_000  # bytes of a download


class Chaos:
    """Faults of lines and programs, applied in the planned order."""

    def __init__(
        self, site: Site, report: Report, lines: dict[str, FaultyLine], processes: dict[str, ProgramProcess]
    ) -> None:
        self._site = site
        self._report = report
        self._lines = lines
        self._processes = processes

    async def happen(self, seconds: float) -> None:
        for step in steps(self._report.seed, seconds):
            await asyncio.sleep(step.pause_s)
            self._report.steps.append(step)
            self._begin(step)
            try:
                await asyncio.sleep(step.lasts_s)
            finally:
                await self._end(step)

    def _begin(self, step: Step) -> None:
        if step.fault in ("stop", "stop server"):
            self._processes[step.whom].send(signal.SIGSTOP)
        elif step.fault == "kill":
            self._processes[step.whom].send(signal.SIGKILL)
        else:
            self._break(self._lines[step.whom], step)

    def _break(self, line: FaultyLine, step: Step) -> None:
        match step.fault:
            case "delay":
                line.delay(0.1)
            case "throttle":
                line.throttle(1 << 20)
            case "hold":
                line.hold()
            case "lose":
                line.lose(step.detail)
            case "garble":
                line.garble(step.detail)
            case "cut":
                line.cut(step.detail)
            case "refuse":
                line.refuse()
                line.cut()

    async def _end(self, step: Step) -> None:
        if step.fault in ("stop", "stop server"):
            self._processes[step.whom].send(signal.SIGCONT)
        elif step.fault == "kill":
            self._processes[step.whom].wait()
            self._processes[step.whom] = await asyncio.to_thread(self._site.start_agent, f"--agent-id={VICTIM}", *FLAGS)
        else:
            self._lines[step.whom].heal()


async def soak(directory: Path, seed: int, seconds: float) -> Report:
    """Run the soak and return its report, which holds the defects found."""
    report, site = Report(seed), Site(directory)
    try:
        async with AsyncExitStack() as stack:
            processes = {"server": await asyncio.to_thread(site.start_server, *FLAGS)}
            lines = {
                name: stack.enter_context(FaultyLine(("127.0.0.1", site.agent_port))) for name in (*SURVIVORS, VICTIM)
            }
            for name, line in lines.items():
                port = line.port if name != VICTIM else None
                flags = (f"--agent-id={name}", *FLAGS)
                processes[name] = await asyncio.to_thread(site.start_agent, *flags, port=port)
            kinds = {"echo": targets.echo, "digest": targets.digest, "source": targets.source(LENGTH)}
            where = {
                name: await stack.enter_async_context(targets.listening(handler)) for name, handler in kinds.items()
            }
            await _run(site, report, Clients(site, report, where), Chaos(site, report, lines, processes), seconds)
            _look_at(processes, report)
    finally:
        await asyncio.to_thread(site.stop)
    return report


async def _run(site: Site, report: Report, clients: Clients, chaos: Chaos, seconds: float) -> None:
    watched = {"server": (site.processes[0], site.admin_port)}
    watched |= {name: (site.processes[1 + n], site.processes[1 + n].admin_port) for n, name in enumerate(SURVIVORS)}
    clients.strict = True
    await clients.do(WARM_DEEDS)
    await _rested(site)
    state = {name: _state(*each) for name, each in watched.items()}
    clients.strict = False
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(clients.do(), name="clients")
        await chaos.happen(seconds)
        clients.enough = True
        await working
    clients.enough, clients.strict = False, True
    await until(lambda: site.backends == len(SURVIVORS) + 1, REST_S)
    await clients.do(CALM_DEEDS)
    await _rested(site)
    deadline = time.monotonic() + REST_S
    while wrong := [text for name, each in watched.items() for text in _differences(name, state[name], _state(*each))]:
        if time.monotonic() > deadline:
            report.found += wrong
            break
        await asyncio.sleep(0.5)
    for name, each in watched.items():
        report.before[name], report.after[name] = str(state[name]), str(_state(*each))


@dataclass
class State:
    """Descriptors, tasks, threads and memory of a program at one moment."""

    descriptors: int
    work: str  # tasks and threads
    memory: int

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.work}, {self.memory / (1 << 20):.1f} MiB"


def _state(process: ProgramProcess, admin_port: int) -> State:
    work = get(admin_port, "/debug/pprof/goroutine", 10)[1].partition("\n")[0]
    return State(descriptors(process), work, process.memory_bytes())


def _differences(name: str, before: State, now: State) -> list[str]:
    same = (before.descriptors, before.work) == (now.descriptors, now.work)
    if same and now.memory <= before.memory + MEMORY_SLACK:
        return []
    return [f"{name} is not what it was: before {before}; now {now}"]


async def _rested(site: Site) -> None:
    """Wait until the gauges of open objects are zero in the server and in every live agent."""
    await site.at_rest(REST_S)
    ports = [process.health_port for process in site.processes[1:] if process.returncode is None]
    await until(lambda: not any(metrics(port).get("agent_open_endpoint_connections", 1) for port in ports), REST_S)


def _look_at(processes: dict[str, ProgramProcess], report: Report) -> None:
    for name, process in processes.items():
        if process.returncode is not None:
            report.found.append(f"{name} has ended with {process.returncode}")
        report.found += [f"{name} said: {line}" for line in process.log.splitlines() if "Traceback" in line]


async def main(minutes: float, seed: int) -> int:
    print(f"seed {seed}; this run again: make soak MINUTES={minutes:g} SEED={seed}", flush=True)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    directory = Path(tempfile.mkdtemp(prefix="konnectivity-soak-"))
    report = await soak(directory, seed, 60 * minutes)
    for name, state in report.after.items():
        print(f"{name}: began with {report.before[name]}; ended with {state}")
    print(f"{len(report.steps)} faults; of what clients did: {dict(report.outcomes)}")
    for text in report.found:
        print(f"found: {text}", file=sys.stderr)
    if report.found:
        print(f"seed {seed}, logs in {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31), help="of a run that is to be repeated")
    arguments = parser.parse_args()
    with suppress(asyncio.CancelledError):
        sys.exit(uvloop.run(main(arguments.minutes, arguments.seed)))
    sys.exit(1)
