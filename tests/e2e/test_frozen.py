"""Tests of a process stopped by SIGSTOP: its sockets stay open and silent; other processes detect this and recover."""

from __future__ import annotations

import asyncio
import http.client
import signal
import time

from konnectivity.client import connect
from support import targets
from support.targets import listening


def status(port, path="/readyz"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def until(condition, seconds):
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.05)


async def echo_once(tunnel, address):
    """Return the duration of a dial and an echo in seconds."""
    started = time.monotonic()
    reader, writer = await tunnel.dial(address)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await writer.wait_closed()
    return time.monotonic() - started


async def test_a_server_whose_only_agent_is_frozen_is_not_ready(fresh):
    fresh.start_server("--heartbeat-interval=1s")
    agent = fresh.start_agent()
    await until(lambda: status(fresh.health_port) == (200, "ok"), 5)
    agent.send(signal.SIGSTOP)
    await until(lambda: status(fresh.health_port) == (500, "no proxy agent answers"), 8)
    shown = status(fresh.health_port, "/metrics")[1]
    assert 'server_ready_backends{proxy_strategy="default"} 0\n' in shown
    assert "server_ready_backend_connections 0\n" in shown
    assert "server_suspected_backends_total 1\n" in shown
    agent.send(signal.SIGCONT)
    await until(lambda: status(fresh.health_port)[0] == 200, 5)


async def test_an_agent_whose_server_is_frozen_is_not_ready(fresh):
    server = fresh.start_server()
    agent = fresh.start_agent("--heartbeat-interval=1s")
    server.send(signal.SIGSTOP)
    await until(lambda: status(agent.health_port)[0] == 503, 8)
    assert "[-]server-connected failed: no server answers" in status(agent.health_port)[1]
    server.send(signal.SIGCONT)
    await until(lambda: status(agent.health_port)[0] == 200, 5)


async def test_what_a_killed_agent_was_asked_for_goes_through_another(fresh):
    fresh.start_server()
    first = fresh.start_agent("--agent-id=first", "--agent-identifiers=host=127.0.0.1")
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        first.send(signal.SIGSTOP)
        dials = [asyncio.ensure_future(echo_once(tunnel, address)) for _ in range(10)]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(fresh.start_agent, "--agent-id=second")
        first.send(signal.SIGKILL)
        assert max(await asyncio.gather(*dials)) < 8
    fresh.processes[0].wait_for("Dialing through another agent")  # the server writes its log after the dial is answered
