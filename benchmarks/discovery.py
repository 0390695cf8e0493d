"""Time until an agent has found every server behind a load balancer that picks one at random.

    .venv/bin/python -m benchmarks.discovery             # 3, 5 and 10 servers, 20 agents; about 2 minutes

Servers are the real program, the balancer is HAProxy, the agents are the agent's own code in this process with the
default flags. `one draw a second` is the rule of the reference agent (one connection at a time, a second apart, drawn
anew until every server was met), computed and not run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks.storm import Crowd
from konnectivity.runtime import logs
from konnectivity.testing.deployment import Deployment, free_port
from support.balancer import Balancer

TIMEOUT_S = 120.0
_SIMULATIONS = 2000


def start_servers(deployment: Deployment, count: int) -> dict[str, int]:
    """Start the servers and return their agent ports by name."""
    ports = {}
    for number in range(count):
        name = f"server-{number}"
        ports[name] = free_port()
        deployment.start_server(
            f"--server-id={name}",
            f"--server-count={count}",
            f"--agent-port={ports[name]}",
            f"--health-port={free_port()}",
            f"--admin-port={free_port()}",
            f"--server-port={free_port()}",
            f"--uds-name={deployment.path(name)}.sock",
        )
    return ports


async def measured(deployment: Deployment, servers: int, agents: int, hosts: list[tuple[str, int]]) -> list[float]:
    """Return the seconds until each agent had a tunnel to every server."""
    found: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(deployment, agents, tasks, hosts)
        crowd.start(crowd.pools)
        started = time.monotonic()
        waiting = set(crowd.pools)
        async with asyncio.timeout(TIMEOUT_S):
            while waiting:
                for pool in [each for each in waiting if len(each.servers) == servers]:
                    waiting.discard(pool)
                    found.append(time.monotonic() - started)
                await asyncio.sleep(0.005)
        crowd.stop()
    return found


def one_draw_a_second(servers: int, seed: int) -> list[float]:
    """Return the same figures for the rule of the reference agent: one new connection per second."""
    draw = random.Random(seed)
    found = []
    for _ in range(_SIMULATIONS):
        met, seconds = {draw.randrange(servers)}, 0.0
        while len(met) < servers:
            seconds += 1.0 * (1 + 0.1 * draw.random())
            met.add(draw.randrange(servers))
        found.append(seconds)
    return found


def row(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    worst = ordered[int(0.95 * (len(ordered) - 1))]
    return f"| {name} | {statistics.median(ordered):.2f} | {worst:.2f} |"


async def run(counts: list[int], agents: int) -> None:
    print("| servers, and how they are found | median s | 95 % s |\n|---|---|---|")
    for servers in counts:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            deployment = Deployment(directory)
            stack.callback(deployment.stop)
            ports = start_servers(deployment, servers)
            direct = [("127.0.0.1", port) for port in ports.values()]
            print(row(f"{servers}, direct addresses", await measured(deployment, servers, agents, direct)), flush=True)
            balancer = stack.enter_context(Balancer(directory, free_port(), ports))
            await asyncio.sleep(1)
            drawn = await measured(deployment, servers, agents, [("127.0.0.1", balancer.port)])
            print(row(f"{servers}, balancer", drawn), flush=True)
            print(row(f"{servers}, one draw a second", one_draw_a_second(servers, servers)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--agents", type=int, default=20)
    arguments = parser.parse_args()
    logs.configure(0, destination=logs.LogDestination(stderr_from=None))
    uvloop.run(run(arguments.servers, arguments.agents))


if __name__ == "__main__":
    main()
