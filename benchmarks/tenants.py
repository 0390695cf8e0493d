"""Benchmark of one server with many tenants: start, memory and CPU time at rest, time until all agents are back.

    .venv/bin/python -m benchmarks.tenants --tenants 1000 --agents 5

The agents are the agent's own code, all of them in this one process; the server is the real program, killed and started
again. Everything is on loopback, and ends with this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import storm
from benchmarks.memory import memory_of
from benchmarks.storm import BATCH, TIMEOUT_S
from konnectivity.net.destination_policy import Policy
from konnectivity.runtime import lifecycle, logs
from konnectivity.testing.deployment import Deployment, ProgramProcess
from konnectivity.tool.pki.authority import Authority
from konnectivity_agent.dialer import DialCounters, Dialer
from konnectivity_agent.resolver import Resolver
from konnectivity_agent.server_lookup import ServerLookup
from konnectivity_agent.server_pool import ServerPool

DOMAIN = "gateway.example"
START_S = 120.0
REST_S = 20.0


def write_tenants(deployment: Deployment, count: int) -> list[str]:
    """Write the folder of each tenant, its credentials, and the server's certificate; return the names."""
    deployment.authority.issue("proxy-server", dns=(f"*.{DOMAIN}", "localhost"), ips=("127.0.0.1",), server=True).write(
        deployment.directory, "server"
    )
    names = [f"t{number:04}" for number in range(count)]
    for name in names:
        folder = deployment.directory / "tenants" / name
        folder.mkdir(parents=True)
        authority = Authority.create(f"CA of {name}")
        (folder / "ca.crt").write_bytes(authority.certificate_pem)
        authority.issue(name, client=True).write(deployment.directory, name)
        (folder / "tenant.yaml").write_text(
            f"server-names: {name}.{DOMAIN}\ncluster-ca-cert: ca.crt\nserver-ca-cert: ca.crt\n"
        )
    return names


def start(deployment: Deployment, *more: str) -> tuple[ProgramProcess, float]:
    """Start the server, and return it with the seconds until it served."""
    began = time.monotonic()
    server = deployment.start_package(
        "konnectivity_server",
        [
            f"--tenants={deployment.path('tenants')}",
            "--mode=http-connect",
            "--server-bind-address=127.0.0.1",
            f"--server-port={deployment.server_port}",
            f"--server-cert={deployment.path('server.crt')}",
            f"--server-key={deployment.path('server.key')}",
            "--agent-bind-address=127.0.0.1",
            f"--agent-port={deployment.agent_port}",
            f"--cluster-cert={deployment.path('server.crt')}",
            f"--cluster-key={deployment.path('server.key')}",
            "--health-bind-address=127.0.0.1",
            f"--health-port={deployment.health_port}",
            f"--admin-port={deployment.admin_port}",
            *more,
        ],
    )
    server.wait_for("Proxy server started", timeout_s=START_S)
    return server, time.monotonic() - began


def pools_of(deployment: Deployment, names: list[str], each: int, tasks: asyncio.TaskGroup) -> list[ServerPool]:
    """Return the agents of all tenants, not started."""

    async def loopback(host: str, port: int, **how: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    dialer = Dialer(tasks, DialCounters(), Policy(), Resolver(Counter()))

    def agents(name: str) -> list[ServerPool]:
        servers = [(f"{name}.{DOMAIN}", deployment.agent_port)]
        return storm.pools_of(
            deployment, name, lambda: ServerLookup(servers, getaddrinfo=loopback), each, dialer, tasks
        )

    return [pool for name in names for pool in agents(name)]


async def connected(pools: list[ServerPool]) -> float:
    """Return the seconds until every agent has a tunnel."""
    began = time.monotonic()
    async with asyncio.timeout(TIMEOUT_S):
        while not all(pool.servers for pool in pools):
            await asyncio.sleep(0.1)
    return time.monotonic() - began


async def measure(deployment: Deployment, count: int, each: int) -> dict[str, float]:
    """Run the benchmark and return its figures."""
    names = write_tenants(deployment, count)
    server, start_s = await asyncio.to_thread(start, deployment)
    bare, start_cpu_s = memory_of(server.pid).private, server.cpu_seconds()
    async with asyncio.TaskGroup() as tasks:
        pools = pools_of(deployment, names, each, tasks)
        running = []
        for begin in range(0, len(pools), BATCH):
            batch = pools[begin : begin + BATCH]
            running += [tasks.create_task(pool.run()) for pool in batch]
            await connected(batch)
        await asyncio.sleep(2)
        at_rest, cpu_s = memory_of(server.pid).private, server.cpu_seconds()
        await asyncio.sleep(REST_S)
        idle_cpu = (server.cpu_seconds() - cpu_s) / REST_S
        server.send(signal.SIGKILL)
        server.wait()
        server, again_s = await asyncio.to_thread(start, deployment)
        back_s = await connected(pools)
        result = {
            "tenants": count,
            "agents": len(pools),
            "start_s": round(start_s, 2),
            "start_cpu_s": round(start_cpu_s, 2),  # until it serves, of the server
            "bare_mib": round(bare, 1),  # private memory with all tenants and no agent
            "private_mib": round(at_rest, 1),  # private memory with all agents, idle
            "idle_cpu_percent": round(100 * idle_cpu, 2),  # of a core, while all are idle
            "back_s": round(again_s + back_s, 2),  # from the restart until all agents are back
            "back_cpu_s": round(server.cpu_seconds(), 2),
        }
        for task in running:
            task.cancel()
        for pool in pools:
            pool.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=5, help="agents of each tenant")
    arguments = parser.parse_args()
    lifecycle.raise_file_limit()
    logs.configure(0, destination=logs.LogDestination(stderr_from=None))
    with tempfile.TemporaryDirectory() as directory:
        deployment = Deployment(Path(directory))
        try:
            print(json.dumps(uvloop.run(measure(deployment, arguments.tenants, arguments.agents)), indent=2))
        finally:
            deployment.stop()


if __name__ == "__main__":
    main()
