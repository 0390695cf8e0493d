"""Test with three servers and six agents behind HAProxy, under constant dialling, while programs are replaced.

Direct addresses, kills and freezes are in the simulation, kills and freezes of real processes in tests/adversity.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from support import targets
from support.balancer import HAPROXY, MISSING, Balancer
from support.targets import listening

AGENTS = 6
SERVERS = ("one", "two", "three")
PACE_S = 0.03  # seconds between two dials
ERRORS = (DialError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass
class Failure:
    at: float
    server: str
    error: str
    began: float


@dataclass
class Cluster:
    """Three servers, six agents, and a client that dials through any server whose /readyz answers 200."""

    deployment: Deployment
    servers: dict[str, ProgramProcess] = field(default_factory=dict)
    agents: dict[int, ProgramProcess] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    dials: int = 0

    def __post_init__(self) -> None:
        self.ports = {name: {what: free_port() for what in ("agent", "health", "admin", "tcp")} for name in SERVERS}
        self.port = free_port()
        self._stack = ExitStack()

    def start(self) -> None:
        for name in SERVERS:
            self.start_server(name)
        ports = {name: each["agent"] for name, each in self.ports.items()}
        self._stack.enter_context(Balancer(self.deployment.directory, self.port, ports))
        for number in range(AGENTS):
            self.start_agent(number)

    def start_server(self, name: str) -> None:
        ports = self.ports[name]
        self.servers[name] = self.deployment.start_server(
            f"--server-id={name}-{time.monotonic_ns()}",  # a new id for each start, like a pod's name
            "--server-count=3",
            f"--agent-port={ports['agent']}",
            f"--health-port={ports['health']}",
            f"--admin-port={ports['admin']}",
            f"--server-port={ports['tcp']}",
            f"--uds-name={self.deployment.path(name)}.sock",
            "--graceful-shutdown-timeout=5s",
        )

    def start_agent(self, number: int) -> None:
        agent = self.deployment.start_agent(
            f"--agent-id=agent-{number}",
            f"--proxy-server-host=127.0.0.1:{self.port}",
            "--sync-interval=200ms",
            "--sync-interval-cap=2s",
        )
        self.agents[number] = agent
        agent.wait_for("Connected to server", 3)

    def stop(self) -> None:
        self._stack.close()

    def ready(self, name: str) -> bool:
        """Return whether /readyz of the server answers 200, as a load balancer or kube-apiserver checks it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name]["health"], timeout=0.5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    async def until_ready(self, name: str) -> None:
        async with asyncio.timeout(15):
            while not await asyncio.to_thread(self.ready, name):
                await asyncio.sleep(0.05)

    async def dial_all_the_time(self, address: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._once(address))
                await asyncio.sleep(PACE_S)

    async def _once(self, address: str) -> None:
        names = random.sample(SERVERS, 3)
        ready = [name for name in names if await asyncio.to_thread(self.ready, name)]
        if not ready:
            return
        began = time.monotonic()
        self.dials += 1
        try:
            async with asyncio.timeout(12), connect(f"unix:{self.deployment.path(ready[0])}.sock") as tunnel:
                reader, writer = await tunnel.dial(address)
                try:
                    writer.write(b"hello")
                    assert await reader.readexactly(5) == b"hello"
                finally:
                    writer.close()
        except ERRORS as error:
            self.failures.append(Failure(time.monotonic(), ready[0], repr(error), began))


@pytest.fixture
async def cluster(fresh):
    if HAPROXY is None:
        pytest.skip(MISSING)
    cluster = Cluster(fresh)
    await asyncio.to_thread(cluster.start)
    yield cluster
    cluster.stop()


class Dialling:
    """Context manager that dials continuously during the block and records the failures in the cluster."""

    def __init__(self, cluster):
        self._cluster = cluster

    async def __aenter__(self):
        self._listening = listening(targets.echo)
        address = await self._listening.__aenter__()
        self._task = asyncio.create_task(self._cluster.dial_all_the_time(address))
        await asyncio.sleep(0.5)

    async def __aexit__(self, *error):
        await asyncio.sleep(0.5)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._listening.__aexit__(*error)


async def test_planned_changes_fail_no_dial(cluster):
    async with Dialling(cluster):
        for name in SERVERS:  # roll out the servers
            cluster.servers[name].send(signal.SIGTERM)
            assert await asyncio.to_thread(cluster.servers[name].wait) == 0
            await asyncio.to_thread(cluster.start_server, name)
            await cluster.until_ready(name)
        for number in range(3):  # roll out half of the agents
            old = cluster.agents[number]
            old.send(signal.SIGTERM)
            await asyncio.to_thread(cluster.start_agent, number)
            assert await asyncio.to_thread(old.wait) == 0
        cluster.agents.pop(5).send(signal.SIGTERM)  # remove one agent; another is added below
        await asyncio.to_thread(cluster.start_agent, AGENTS)
    assert cluster.failures == []
    assert cluster.dials > 100
