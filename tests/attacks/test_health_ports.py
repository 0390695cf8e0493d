"""Tests of one hostile client's load on the health and admin ports: the tunnels beside it are not delayed."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from attack_site import MIB, honest, measured, memory_returns

ATTACK_S = 3.0
CONNECTIONS = 300  # more than a port accepts


def descriptors(process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.05)


async def pipeline(port: int, path: str) -> None:
    """Send requests as fast as the port reads them, and read the answers."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        requests = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode() * 500
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(drain(reader))
                while True:
                    writer.write(requests)
                    await writer.drain()
        finally:
            writer.transport.abort()


async def drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 20):
        pass
    raise ConnectionError


async def again(attack, *arguments) -> None:
    """Repeat the attack whenever the port has ended it."""
    while True:
        with contextlib.suppress(ExceptionGroup, OSError):
            await attack(*arguments)
        await asyncio.sleep(0.001)


async def hold(port: int, sent: bytes) -> None:
    """Send an incomplete request and keep the connection until the port closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await reader.read()
        await asyncio.sleep(0.05)
    finally:
        writer.transport.abort()


async def come_and_go(port: int, sent: bytes) -> None:
    """Connect, send and disconnect."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await asyncio.sleep(0)
    writer.transport.abort()


async def ask_once(port: int, sent: bytes) -> None:
    """Connect, send a request and wait for the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await reader.read()
    finally:
        writer.transport.abort()


FIELDS = b"GET /healthz HTTP/1.1\r\n" + b"a:\r\n" * 4000
ATTACKS = {
    "pipelined /healthz": (1, pipeline, "/healthz"),
    "pipelined /metrics": (1, pipeline, "/metrics"),
    "pipelined /readyz of many": (50, pipeline, "/readyz"),
    "pipelined /metrics of many": (50, pipeline, "/metrics"),
    "connections that say nothing": (CONNECTIONS, hold, b""),
    "connections with half a head": (CONNECTIONS, hold, b"GET /metrics HTTP/1.1\r\nx: "),
    "a request for each connection": (100, ask_once, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    "connections that come and go": (4, come_and_go, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
    "heads of many lines": (50, hold, FIELDS),
}


async def attacked(port: int, name: str) -> None:
    count, attack, what = ATTACKS[name]
    tasks = [asyncio.create_task(again(attack, port, what)) for _ in range(count)]
    await asyncio.sleep(ATTACK_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_health_port_of_the_server(site, name):
    server = await asyncio.to_thread(site.server)
    await asyncio.to_thread(site.agent)
    before, files = server.memory_bytes(), descriptors(server)
    async with honest(site) as client, measured(server) as cost:
        await attacked(site.health_port, name)
    client.check()
    assert cost.cpu_s < 0.9 * ATTACK_S
    assert cost.memory_growth < 32 * MIB
    await memory_returns(server, before)
    await until(lambda: descriptors(server) < files + 10)
    assert site.metric("server_unexpected_errors_total") == 0
    print(f"{name}: CPU {cost.cpu_s:.2f} s, {cost.memory_growth / MIB:.1f} MiB more; {client.summary()}")


@pytest.mark.parametrize("name", ["pipelined /metrics of many", "heads of many lines"])
async def test_the_health_port_of_the_agent(site, name):
    await asyncio.to_thread(site.server)
    agent = await asyncio.to_thread(site.agent)
    async with honest(site) as client, measured(agent) as cost:
        await attacked(agent.health_port, name)
    client.check()
    assert cost.cpu_s < 0.9 * ATTACK_S
    assert cost.memory_growth < 32 * MIB


@pytest.mark.parametrize("path", ["/api/v1/overview", "/api/v1/agents", "/api/v1/connections?limit=1000", "/"])
async def test_the_admin_port(site, path):
    server = await asyncio.to_thread(site.server)
    await asyncio.to_thread(site.agent)
    async with honest(site) as client, measured(server) as cost:
        tasks = [asyncio.create_task(again(pipeline, site.admin_port, path)) for _ in range(20)]
        await asyncio.sleep(ATTACK_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    client.check()
    assert cost.cpu_s < 0.9 * ATTACK_S
    assert cost.memory_growth < 32 * MIB


async def test_the_health_port_of_a_server_with_workers(site):
    server = site.start_package("konnectivity_server", site.server_arguments("--workers=2"))
    await asyncio.to_thread(server.wait_for, "Proxy server started", 2)
    agent = await asyncio.to_thread(site.agent)
    await asyncio.to_thread(agent.wait_for, "Connected to server", 2)
    async with honest(site) as client, measured(server) as cost:
        await attacked(site.health_port, "pipelined /metrics of many")
    client.check()
    assert cost.cpu_s < 0.9 * ATTACK_S
    assert server.returncode is None
