"""Tests with three servers and six agents under constant dialling while programs are replaced, killed or frozen."""

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
    balanced: bool
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
        if self.balanced:
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
        hosts = ",".join(f"127.0.0.1:{ports['agent']}" for ports in self.ports.values())
        host = f"127.0.0.1:{self.port}" if self.balanced else hosts
        agent = self.deployment.start_agent(
            f"--agent-id=agent-{number}",
            f"--proxy-server-host={host}",
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


@pytest.fixture(params=["direct", "balancer"])
async def cluster(request, fresh):
    if request.param == "balancer" and HAPROXY is None:
        pytest.skip(MISSING)
    cluster = Cluster(fresh, balanced=request.param == "balancer")
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


async def test_a_kill_costs_what_was_in_flight_and_a_freeze_ends_within_ten_seconds(cluster):
    async with Dialling(cluster):
        killed_at = time.monotonic()
        cluster.agents[0].send(signal.SIGKILL)
        await asyncio.sleep(1)
        cluster.servers["one"].send(signal.SIGKILL)
        await asyncio.to_thread(cluster.servers["one"].wait)
        server_killed_at = time.monotonic()
        await asyncio.sleep(1)
        for failure in cluster.failures:  # only dials begun before a kill or during it may fail
            assert failure.began < max(killed_at, server_killed_at) + 0.2, failure
        await asyncio.to_thread(cluster.start_server, "one")
        await cluster.until_ready("one")
        await asyncio.to_thread(cluster.start_agent, 0)
        cluster.failures.clear()

        frozen_at = time.monotonic()
        cluster.agents[1].send(signal.SIGSTOP)
        await asyncio.sleep(8)
        assert cluster.failures == []  # dials that the frozen agent did not answer were retried on another
        cluster.agents[1].send(signal.SIGCONT)
        frozen_at = time.monotonic()
        cluster.servers["two"].send(signal.SIGSTOP)  # a frozen server cannot report itself as not ready
        await asyncio.sleep(3)
        cluster.servers["two"].send(signal.SIGCONT)
        await cluster.until_ready("two")
        assert not [one for one in cluster.failures if one.at > frozen_at + 10]
    assert cluster.dials > 200
