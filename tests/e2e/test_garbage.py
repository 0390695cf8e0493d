"""Tests that a connection, dial or tunnel is freed when it ends, without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import urllib.request

import pytest

from konnectivity.client import connect
from konnectivity.errors import DialError
from support import targets
from support.faulty_line import FaultyLine
from support.targets import listening

TIMES = 20
FRONTENDS = [(mode, unix) for mode in ("http-connect", "grpc") for unix in (True, False)]


def garbage(*ports):
    """Return, for each admin port, the number of objects that only referred to each other."""
    found = []
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/debug/pprof/heap?gc=1", timeout=10) as answer:
            found.append(int(re.search(r"to each other: (\d+)", answer.read().decode())[1]))
    return found


class Site:
    """Server and agent whose garbage is counted."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.server = deployment.start_server("--enable-profiling")
        self.agent = deployment.start_agent("--enable-profiling")

    async def each_leaves(self, deed):
        """Return the number of garbage objects that each call of `deed` leaves in the server and in the agent."""
        for _ in range(3):
            await deed()
        ports = (self.deployment.admin_port, self.agent.admin_port)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(garbage, *ports)
        for _ in range(TIMES):
            await deed()
        await asyncio.sleep(0.3)
        return [count // TIMES for count in await asyncio.to_thread(garbage, *ports)]


@pytest.fixture
def site(fresh):
    return Site(fresh)


@pytest.mark.parametrize(("mode", "unix"), FRONTENDS)
async def test_a_connection(site, mode, unix):
    frontend = site.deployment.frontend(mode, unix)

    async def echo():
        async with connect(**frontend) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()

    async with listening(targets.echo) as address:
        assert await site.each_leaves(echo) == [0, 0]


@pytest.mark.parametrize(("mode", "unix"), FRONTENDS)
async def test_a_dial_that_fails(site, mode, unix):
    frontend = site.deployment.frontend(mode, unix)

    async def fail():
        async with connect(**frontend) as tunnel:
            with pytest.raises(DialError):
                await tunnel.dial("127.0.0.1:1")

    assert await site.each_leaves(fail) == [0, 0]


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_a_dial_that_is_taken_back(site, mode):
    async def leave():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), connect(**site.deployment.frontend(mode, True)) as tunnel:
                await tunnel.dial(f"127.0.0.1:{full.getsockname()[1]}")

    with socket.socket() as full, contextlib.ExitStack() as waiting:  # connects hang once the queue is full
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        assert await site.each_leaves(leave) == [0, 0]


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_a_client_that_breaks_off(site, mode):
    async def break_off():
        async with connect(**site.deployment.frontend(mode, True)) as tunnel:
            _, writer = await tunnel.dial(address)
            writer.write(bytes(100_000))
            writer.transport.abort()

    async with listening(targets.echo) as address:
        assert await site.each_leaves(break_off) == [0, 0]


async def test_a_tunnel_that_is_cut_and_comes_back(fresh):
    fresh.start_server("--enable-profiling")
    with FaultyLine(("127.0.0.1", fresh.agent_port)) as line:
        agent = fresh.start_agent("--enable-profiling", port=line.port)
        ports = (fresh.admin_port, agent.admin_port)
        for times in range(2, 12):
            if times == 4:
                await asyncio.to_thread(garbage, *ports)
            line.cut()
            await asyncio.to_thread(agent.wait_for, "Connected to server", times)
        await asyncio.sleep(0.3)
        assert [count // 8 for count in await asyncio.to_thread(garbage, *ports)] == [0, 0]
