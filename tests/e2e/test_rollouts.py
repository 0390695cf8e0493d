"""Tests of SIGTERM: open connections may finish, dials that can be served are served, and the exit code is 0."""

from __future__ import annotations

import asyncio
import http.client
import signal
import time

import pytest

from konnectivity.client import DialError, TunnelLost, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

ERRORS = (ConnectionError, TunnelLost, OSError, asyncio.IncompleteReadError)


def readiness(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


async def echo(reader, writer, data=b"hello"):
    writer.write(data)
    assert await reader.readexactly(len(data)) == data


async def test_a_server_that_drains_serves_and_leaves_when_it_is_idle(fresh):
    server = fresh.start_server()
    agent = fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        await echo(reader, writer)
        server.send(signal.SIGTERM)
        await asyncio.to_thread(agent.wait_for, "Server is shutting down")
        assert await asyncio.to_thread(readiness, fresh.health_port) == (500, "the server is shutting down")
        await echo(reader, writer)
        late_reader, late_writer = await tunnel.dial(address)  # a client that ignores readiness
        await echo(late_reader, late_writer)
        for one in (writer, late_writer):
            one.close()
            await one.wait_closed()
        started = time.monotonic()
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() - started < 3
    assert "Cutting" not in server.log


@pytest.mark.parametrize("how", ["deadline", "second signal", "at once"])
async def test_what_is_cut_is_cut_with_an_error(fresh, how):
    grace = {"deadline": "1s", "second signal": "20s", "at once": "0"}[how]
    server = fresh.start_server(f"--graceful-shutdown-timeout={grace}")
    fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend("grpc", True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        await echo(reader, writer)
        started = time.monotonic()
        server.send(signal.SIGTERM)
        if how == "second signal":
            await asyncio.sleep(0.3)
            server.send(signal.SIGTERM)
        with pytest.raises(ERRORS):
            while True:
                assert await asyncio.wait_for(reader.read(10), 10), "a clean end"
        assert await asyncio.to_thread(server.wait) == 0
        assert time.monotonic() - started < 4
        writer.close()


async def test_an_agent_that_drains_is_not_dialled_and_leaves_when_it_is_idle(fresh):
    fresh.start_server()
    leaving = fresh.start_agent("--agent-id=leaving")
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        await asyncio.to_thread(fresh.start_agent, "--agent-id=staying")
        leaving.send(signal.SIGTERM)
        await asyncio.sleep(0.3)
        for _ in range(20):
            other_reader, other_writer = await tunnel.dial(address)
            await echo(other_reader, other_writer)
            other_writer.close()
        assert leaving.log.count("Connection closed") == 0
        await echo(reader, writer)
        writer.close()
        assert await asyncio.to_thread(leaving.wait) == 0


class Servers:
    """Three servers, agents connected to all of them, and a client that uses any ready server."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.ports = {
            name: {"agent": free_port(), "health": free_port(), "admin": free_port(), "tcp": free_port()}
            for name in ("one", "two", "three")
        }
        self.processes = {}

    def start(self, name):
        ports = self.ports[name]
        self.processes[name] = self.deployment.start_server(
            f"--server-id={name}-{time.monotonic_ns()}",
            "--server-count=3",
            f"--agent-port={ports['agent']}",
            f"--health-port={ports['health']}",
            f"--admin-port={ports['admin']}",
            f"--server-port={ports['tcp']}",
            f"--uds-name={self.deployment.path(name)}.sock",
            "--graceful-shutdown-timeout=5s",
        )

    def hosts(self):
        return ",".join(f"127.0.0.1:{ports['agent']}" for ports in self.ports.values())

    async def ready(self):
        """Return the names of the servers that are ready now."""
        states = {name: asyncio.to_thread(readiness, ports["health"]) for name, ports in self.ports.items()}
        return [name for name, state in states.items() if (await state)[0] == 200]

    async def once(self, name, address):
        """Dial once through a server and check one echo."""
        way = f"unix:{self.deployment.path(name)}.sock"
        async with asyncio.timeout(10), connect(way, "http-connect") as tunnel:
            reader, writer = await tunnel.dial(address)
            await echo(reader, writer)
            writer.close()


async def dialling(servers, address, failures, done):
    count = 0
    while not done.is_set():
        ready = await servers.ready()
        for name in ready[:1] + ready[-1:]:
            try:
                await servers.once(name, address)
            except (DialError, TimeoutError, *ERRORS) as error:
                failures.append((name, repr(error)))
            count += 1
    return count


async def test_planned_restarts_of_servers_and_agents_fail_no_dial(fresh):
    servers = Servers(fresh)
    for name in servers.ports:
        await asyncio.to_thread(servers.start, name)
    agents = {}

    def start_agent(number):
        agents[number] = fresh.start_agent(f"--agent-id=agent-{number}", f"--proxy-server-host={servers.hosts()}")
        agents[number].wait_for("Connected to server", 3)

    for number in (1, 2):
        await asyncio.to_thread(start_agent, number)
    failures, done = [], asyncio.Event()
    async with listening(targets.echo) as address:
        work = asyncio.ensure_future(dialling(servers, address, failures, done))
        for name in servers.ports:
            servers.processes[name].send(signal.SIGTERM)
            assert await asyncio.to_thread(servers.processes[name].wait) == 0
            await asyncio.to_thread(servers.start, name)
            while name not in await servers.ready():
                await asyncio.sleep(0.05)
            # A server that has one agent only is ready, and loses its dials with this agent.
            await asyncio.to_thread(servers.processes[name].wait_for, "Agent connected", 2)
        for number in (1, 2):
            old = agents[number]
            old.send(signal.SIGTERM)
            await asyncio.to_thread(start_agent, number)
            assert await asyncio.to_thread(old.wait) == 0
        done.set()
        assert await work > 50
    assert failures == []
