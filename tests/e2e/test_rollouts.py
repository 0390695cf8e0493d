"""Tests of SIGTERM: open connections may finish, dials that can be served are served, and the exit code is 0."""

from __future__ import annotations

import asyncio
import http.client
import signal
import time

import pytest

from konnectivity.client import TunnelLost, connect
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
