"""Tests of changes under load: a hundred tenants beside one that is used, and restarts of two gateways one by one."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from konnectivity.client import DialError, TunnelLost, connect
from konnectivity.testing.deployment import ProgramProcess, free_port
from konnectivity.tool.pki.authority import Authority
from support.forward_proxy_server import ForwardProxy
from support.targets import echo, listening
from support.tenant_site import TenantSite

CONNECTIONS = 20
OTHERS = tuple(f"t{number:03}" for number in range(100))
WAIT_S = 30.0
ERRORS = (DialError, TunnelLost, OSError, asyncio.IncompleteReadError, TimeoutError)


@pytest.fixture
def site(tmp_path):
    site = TenantSite(tmp_path)
    with ForwardProxy({site.name_of("a"): "127.0.0.1"}) as proxy:
        site.proxy = proxy
        yield site
        site.deployment.stop()


class Conversations:
    """Connections of one tenant that talk until `end`, and the longest time that one echo took."""

    def __init__(self) -> None:
        self.echoes = 0
        self.slowest_s = 0.0
        self._ended = asyncio.Event()

    def end(self) -> None:
        self._ended.set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.echoes += 1
            await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()


def states(site: TenantSite) -> dict[str, str]:
    with urlopen(f"http://127.0.0.1:{site.deployment.admin_port}/api/v1/tenants?limit=1000") as answer:
        return {each["name"]: each["state"] for each in json.load(answer)["tenants"]}


async def reached(site: TenantSite, wanted: dict[str, str]) -> None:
    """Wait until the server has exactly these tenants, in these states."""
    async with asyncio.timeout(WAIT_S):
        while await asyncio.to_thread(states, site) != wanted:
            await asyncio.sleep(0.1)


async def test_a_hundred_tenants_come_change_and_go_and_no_connection_of_another_is_touched(site):
    site.add("a")
    server = site.start_server()
    agent = site.start_agent(site.proxy, "a")
    talks = Conversations()
    async with listening(echo) as address, connect(**site.frontend("a")) as tunnel, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(talks.talk(*await tunnel.dial(address)))
        await asyncio.to_thread(lambda: [site.add(name) for name in OTHERS])
        await reached(site, {"a": "ready"} | dict.fromkeys(OTHERS, "not ready"))
        await asyncio.to_thread(
            lambda: [Authority.create(f"next CA of {name}").write(site.directory / name) for name in OTHERS]
        )
        await asyncio.to_thread(server.wait_for, "TLS files of a tenant have changed", len(OTHERS), WAIT_S)
        await asyncio.to_thread(lambda: [shutil.rmtree(site.directory / name) for name in OTHERS])
        await reached(site, {"a": "ready"})
        talks.end()
    print(f"echoes meanwhile: {talks.echoes}, the slowest took {talks.slowest_s:.3f} s")
    assert talks.echoes > 10 * CONNECTIONS
    assert agent.log.count("Connected to server") == 1
    assert "Agent disconnected" not in server.log


class Gateways:
    """Two servers with one directory of tenants, and a client that uses those that are ready."""

    def __init__(self, site: TenantSite) -> None:
        self.site = site
        self.ports = [{role: free_port() for role in ("agent", "server", "health", "admin")} for _ in range(2)]
        with ThreadPoolExecutor() as starters:
            self.processes: list[ProgramProcess] = list(starters.map(self.start, range(2)))

    def start(self, number: int) -> ProgramProcess:
        ports = (f"--{role}-port={port}" for role, port in self.ports[number].items())
        return self.site.start_server(*ports, f"--server-id=gateway-{number}-{time.monotonic_ns()}")

    @property
    def hosts(self) -> str:
        return ",".join(f"{self.site.name_of('a')}:{ports['agent']}" for ports in self.ports)

    def ready(self) -> list[int]:
        return [number for number in range(2) if self._is_ready(number)]

    def _is_ready(self, number: int) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[number]['health']}/readyz?tenant=a", timeout=5):
                return True
        except (URLError, ConnectionError):  # a server that ends may take a request, and not answer it
            return False

    async def restart(self, number: int) -> None:
        """End a gateway as Kubernetes would, start it again, and wait until it has its agent."""
        self.processes[number].send(signal.SIGTERM)
        assert await asyncio.to_thread(self.processes[number].wait) == 0
        self.processes[number] = await asyncio.to_thread(self.start, number)
        async with asyncio.timeout(WAIT_S):
            while number not in await asyncio.to_thread(self.ready):
                await asyncio.sleep(0.05)

    async def once(self, number: int, address: str) -> None:
        """Dial once through a gateway and check one echo."""
        way = self.site.frontend("a") | {"address": f"127.0.0.1:{self.ports[number]['server']}"}
        async with asyncio.timeout(10), connect(**way) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()


async def test_two_gateways_are_restarted_one_by_one_and_no_dial_fails(site):
    site.add("a", "server-count: 2")
    gateways = await asyncio.to_thread(Gateways, site)
    agent = await asyncio.to_thread(
        site.start_agent, site.proxy, "a", "", True, f"--proxy-server-host={gateways.hosts}"
    )
    await asyncio.to_thread(agent.wait_for, "Connected to server", 2)
    failures: list[str] = []
    dials = 0
    ended = asyncio.Event()

    async def dial_on(address: str) -> None:
        nonlocal dials
        while not ended.is_set():
            for number in await asyncio.to_thread(gateways.ready):
                dials += 1
                try:
                    await gateways.once(number, address)
                except ERRORS as error:
                    failures.append(f"gateway {number}: {error!r}")

    async with listening(echo) as address, asyncio.TaskGroup() as tasks:
        tasks.create_task(dial_on(address))
        for number in range(2):
            await gateways.restart(number)
        ended.set()
    print(f"dials meanwhile: {dials}")
    assert failures == []
    assert dials > 50
