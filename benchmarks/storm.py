"""Loss of one server by many agents at once: the time until all are connected again, and its cost.

    .venv/bin/python -m benchmarks.storm --agents 5000

The agents are the agent's own code (addresses, back-off, TLS, tunnel), all of them in this one process; the server is
the real program, killed and started again. Everything is on loopback, and ends with this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

import uvloop

from konnectivity import tls
from konnectivity.grpc.implementations import implementation
from konnectivity.net.destination_policy import Policy
from konnectivity.runtime import lifecycle, logs
from konnectivity.testing.deployment import Deployment
from konnectivity.tunnel.memory_budget import MemoryBudget, read_size
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent.dial_queue import DialQueue
from konnectivity_agent.dialer import DialCounters, Dialer
from konnectivity_agent.pool_plan import PoolPlan
from konnectivity_agent.resolver import Resolver
from konnectivity_agent.server_connection import ServerConnectionSettings, connect
from konnectivity_agent.server_count import ServerCount
from konnectivity_agent.server_greeting import AgentIdentity
from konnectivity_agent.server_lookup import ServerLookup
from konnectivity_agent.server_pool import ServerPool

TIMEOUT_S = 120.0
BATCH = 100


def pools_of(
    deployment: Deployment,
    credential: str,
    lookup: Callable[[], ServerLookup],
    count: int,
    dialer: Dialer,
    tasks: asyncio.TaskGroup,
    changed: Callable[[], object] = lambda: None,
) -> list[ServerPool]:
    """Return agents that are not started; `credential` is the name of their certificate's files."""
    files = (deployment.path("ca.crt"), deployment.path(f"{credential}.crt"), deployment.path(f"{credential}.key"))
    settings = ServerConnectionSettings(
        tls=tls.ClientTls(*files, ["h2"]),
        grpc=implementation("native"),
        keepalive_time_s=3600.0,
        heartbeat_s=10.0,
        read_bytes=read_size(MemoryBudget().process_budget),
    )
    return [
        ServerPool(
            lookup(),
            PoolPlan(1.0, 10.0, False, Random(number)),
            ServerCount("default"),
            partial(
                connect,
                settings=settings,
                identity=AgentIdentity(f"agent-{number}"),
                options=TunnelOptions(MemoryBudget()),
                opener=DialQueue(dialer.open, Counter()).open,
                tasks=tasks,
            ),
            tasks,
            changed,
        )
        for number in range(count)
    ]


class Crowd:
    """Agents of one deployment, connected to its server unless `hosts` are given."""

    def __init__(
        self,
        deployment: Deployment,
        count: int,
        tasks: asyncio.TaskGroup,
        hosts: Sequence[tuple[str, int]] = (),
    ) -> None:
        dialer = Dialer(tasks, DialCounters(), Policy(), Resolver(Counter()))
        self.connected = 0
        self.changed = asyncio.Event()
        servers = hosts or [("127.0.0.1", deployment.agent_port)]
        self.pools = pools_of(
            deployment, "client", lambda: ServerLookup(servers), count, dialer, tasks, self.changed.set
        )
        self._tasks = tasks
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, pools: Sequence[ServerPool]) -> None:
        self.tasks += [self._tasks.create_task(pool.run()) for pool in pools]

    async def start_all(self) -> None:
        """Start the agents a few at a time, each until it is connected, since one process is slower than many nodes."""
        for begin in range(0, len(self.pools), BATCH):
            batch = self.pools[begin : begin + BATCH]
            self.start(batch)
            await self._connected(batch)

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for pool in self.pools:
            pool.close()

    async def all_connected(self) -> float:
        """Return the seconds until every agent has a tunnel."""
        started = time.monotonic()
        await self._connected(self.pools)
        return time.monotonic() - started

    async def _connected(self, pools: Sequence[ServerPool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not all(pool.servers for pool in pools):
                self.changed.clear()
                await self.changed.wait()
                await asyncio.sleep(0.05)


async def storm(deployment: Deployment, count: int) -> dict[str, float]:
    server = await asyncio.to_thread(deployment.start_server)
    bare = server.memory_bytes()
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(deployment, count, tasks)
        await crowd.start_all()
        at_rest = server.memory_bytes()
        cpu_s = server.cpu_seconds()
        await asyncio.sleep(20)
        idle_cpu = (server.cpu_seconds() - cpu_s) / 20
        server.send(signal.SIGKILL)
        server.wait()
        await asyncio.sleep(0.5)
        server = await asyncio.to_thread(deployment.start_server)
        back_s = await crowd.all_connected()
        result = {
            "agents": count,
            "back_s": round(back_s, 2),  # until all were back after the restart
            "back_cpu_s": round(server.cpu_seconds(), 2),  # of the server
            "peak_mib": round(server.memory_bytes("VmHWM") / 2**20, 1),  # of the server's memory
            "kib_each": round((at_rest - bare) / count / 1024, 1),  # of it, for each idle agent
            "idle_cpu_percent": round(100 * idle_cpu, 2),  # of a core, while all are idle
        }
        crowd.stop()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=2000)
    count = parser.parse_args().agents
    lifecycle.raise_file_limit()
    logs.configure(0, destination=logs.LogDestination(stderr_from=None))
    with tempfile.TemporaryDirectory() as directory:
        deployment = Deployment(Path(directory))
        try:
            print(json.dumps(uvloop.run(storm(deployment, count)), indent=2))
        finally:
            deployment.stop()


if __name__ == "__main__":
    main()
