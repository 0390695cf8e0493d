"""Failed dials while one of two agents is frozen (SIGSTOP), and the time until dials work again.

    .venv/bin/python -m benchmarks.frozen                # default settings; 40 s a side

20 dials a second, each of which may take 15 s. Beside the programs as they are stands `no heartbeat`: ours, told not to
watch agents and speaking the reference protocol, which leaves what the reference server has: each dial's own deadline.
The programs of the reference take part if KONNECTIVITY_REFERENCE_SERVER and KONNECTIVITY_REFERENCE_AGENT name them.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks import reference
from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment, ProgramProcess
from support import targets
from support.targets import listening

PACE_S = 0.05
DIAL_TIMEOUT_S = 15.0
OLD = ("--heartbeat-interval=0", "--konnectivity-extension=false")
Started = tuple[ProgramProcess, ProgramProcess]  # the agents: one to freeze, one to stay


@dataclass
class Outcome:
    """Results of the dials since the freeze."""

    dials: int = 0
    failed: int = 0
    last_failure_s: float = 0.0
    slowest_s: float = 0.0
    waits: list[float] = field(default_factory=list)


async def dial(path: str, address: str, frozen_at: float, outcome: Outcome) -> None:
    outcome.dials += 1
    began = time.monotonic()
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S), connect(f"unix:{path}") as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            await reader.readexactly(5)
            writer.close()
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - began)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        outcome.failed += 1
        outcome.last_failure_s = time.monotonic() - frozen_at


async def measured(deployment: Deployment, start: Callable[[], Started], seconds: float) -> Outcome:
    frozen, _ = await asyncio.to_thread(start)
    outcome = Outcome()
    async with listening(targets.echo) as address, asyncio.TaskGroup() as tasks:
        await dial(deployment.socket, address, time.monotonic(), Outcome())
        frozen.send(signal.SIGSTOP)
        frozen_at = time.monotonic()
        while time.monotonic() - frozen_at < seconds:
            tasks.create_task(dial(deployment.socket, address, frozen_at, outcome))
            await asyncio.sleep(PACE_S)
    return outcome


def ours(deployment: Deployment, *flags: str) -> Callable[[], Started]:
    def start() -> Started:
        deployment.start_server(*flags)
        first = deployment.start_agent("--agent-id=frozen", *flags)
        return first, deployment.start_agent("--agent-id=well", *flags)

    return start


def theirs(deployment: Deployment) -> Callable[[], Started]:
    def start() -> Started:
        reference.start_server(deployment)
        time.sleep(1)
        frozen, well = (reference.start_agent(deployment, f"--agent-id={name}") for name in ("frozen", "well"))
        time.sleep(2)
        return frozen, well

    return start


async def run(seconds: float) -> None:
    print("| side | dials | failed | last failure after, s | slowest that worked, s |\n|---|---|---|---|---|")
    sides: dict[str, Callable[[Deployment], Callable[[], Started]]] = {
        "heartbeat": lambda deployment: ours(deployment),
        "no heartbeat": lambda deployment: ours(deployment, *OLD),
    }
    if reference.programs():
        sides["reference"] = theirs
    for name, side in sides.items():
        with tempfile.TemporaryDirectory() as directory:
            deployment = Deployment(Path(directory))
            try:
                outcome = await measured(deployment, side(deployment), seconds)
            finally:
                await asyncio.to_thread(deployment.stop)
        figures = (outcome.dials, outcome.failed, round(outcome.last_failure_s, 1), round(outcome.slowest_s, 1))
        print(f"| {name} | {' | '.join(map(str, figures))} |", flush=True)
    if "reference" not in sides:
        print(f"\n{reference.MISSING}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=25.0, help="of dialling")
    uvloop.run(run(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
