"""Tests of `--workers`: several processes act as one server to agents, kube-apiserver, Prometheus and operators."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import time

import pytest

from konnectivity.client import DialError, TunnelLost, connect
from support import targets
from support.targets import listening


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def metric(port, name):
    _, text = get(port, "/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def workers_of(server):
    """Return the process ids of a server's workers."""
    with open(f"/proc/{server.pid}/task/{server.pid}/children") as children:
        return [int(each) for each in children.read().split()]


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


async def echoes(fresh, address, count, mode="http-connect", unix=True):
    """Open connections one after the other, and check an echo on each."""
    for _ in range(count):
        async with connect(**fresh.frontend(mode, unix=unix)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()


def start_server(fresh, *more):
    server = fresh.start_package("konnectivity_server", fresh.server_arguments("--workers=2", *more))
    server.wait_for("Proxy server started", times=2)
    return server


@pytest.fixture
def server(fresh):
    return start_server(fresh)


def joined(fresh, agent):
    """Wait until an agent is connected to both workers."""
    agent.wait_for("Connected to server", times=2)
    until(lambda: get(fresh.health_port, "/readyz")[0] == 200)


@pytest.mark.parametrize("unix", [True, False], ids=["unix", "mtls"])
@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_an_agent_finds_both_and_both_carry(fresh, server, mode, unix):
    agent = await asyncio.to_thread(fresh.start_agent)
    await asyncio.to_thread(joined, fresh, agent)
    async with listening(targets.echo) as address:
        await echoes(fresh, address, 40, mode, unix)
    served = [metric_of_worker(fresh, index) for index in (0, 1)]
    assert sum(served) == 40
    if not unix:
        assert all(served), "connections are spread"


def metric_of_worker(fresh, index):
    _, text = get(fresh.health_port, f"/metrics?worker={index}")
    lines = [
        line
        for line in text.splitlines()
        if line.startswith("konnectivity_network_proxy_server_dial_duration_seconds_count")
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_a_worker_without_an_agent_dials_through_its_sibling(fresh):
    """One agent stream, in one worker, serves both workers."""
    await asyncio.to_thread(start_server, fresh, "--server-count=1")
    await asyncio.to_thread(fresh.start_agent, "--sync-interval=300s", "--sync-interval-cap=300s")
    until(lambda: get(fresh.health_port, "/readyz")[0] == 200)
    async with listening(targets.echo) as address:
        await echoes(fresh, address, 30)


async def test_metrics_and_lists_speak_for_all(fresh, server):
    agent = await asyncio.to_thread(fresh.start_agent, "--agent-id=one")
    await asyncio.to_thread(joined, fresh, agent)
    assert metric(fresh.health_port, "konnectivity_network_proxy_server_ready_backend_connections") == 2
    assert metric(fresh.health_port, "konnectivity_network_proxy_server_worker_restarts_total") == 0
    agents = json.loads(get(fresh.admin_port, "/api/v1/agents")[1])
    assert sorted((each["id"], each["worker"]) for each in agents) == [("one", 0), ("one", 1)]
    assert "worker 1: [+]agents ok" in get(fresh.health_port, "/readyz?verbose")[1]
    assert get(fresh.admin_port, "/api/v1/route?destination=10.0.0.1:80")[0] == 200
    assert get(fresh.health_port, "/api/v1/agents")[0] == 404, "not on the health port"
    assert get(fresh.health_port, "/healthz") == (200, "ok")
    assert get(fresh.admin_port, "/nothing")[0] == 404


async def test_a_worker_that_dies_takes_its_connections_and_is_started_again(fresh, server):
    agent = await asyncio.to_thread(fresh.start_agent)
    await asyncio.to_thread(joined, fresh, agent)
    async with listening(targets.echo) as address:
        async with connect(**fresh.frontend("grpc", unix=True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            await reader.readexactly(5)
            for pid in workers_of(server):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises((TunnelLost, ConnectionError)):
                async with asyncio.timeout(5):
                    while await reader.read(100):
                        pass
        server.wait_for("A worker ended, starting it again", times=2)
        await asyncio.to_thread(server.wait_for, "Proxy server started", 4)
        await asyncio.to_thread(agent.wait_for, "Connected to server", 4)
        await echoes(fresh, address, 10)
    assert metric(fresh.health_port, "konnectivity_network_proxy_server_worker_restarts_total") == 2


async def test_the_other_worker_carries_on(fresh, server):
    agent = await asyncio.to_thread(fresh.start_agent)
    await asyncio.to_thread(joined, fresh, agent)
    async with listening(targets.echo) as address:
        victim = workers_of(server)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers_of(server))
        failed = 0
        for _ in range(30):
            try:
                await echoes(fresh, address, 1)
            except (DialError, TunnelLost, OSError):
                failed += 1
        assert failed <= 1


async def test_a_signal_drains_all(fresh, server):
    agent = await asyncio.to_thread(fresh.start_agent)
    await asyncio.to_thread(joined, fresh, agent)
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        server.send(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: get(fresh.health_port, "/readyz")[0] != 200)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()
    assert await asyncio.to_thread(server.wait, 20) == 0
    assert not os.path.exists(fresh.socket)


def test_a_supervisor_that_is_killed_leaves_no_worker(fresh, server):
    workers = workers_of(server)
    server.send(signal.SIGKILL)
    server.wait()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))


def test_what_cannot_start_ends_with_its_message(fresh):
    with open(fresh.path("server.crt"), "w") as broken:
        broken.write("no certificate")
    server = fresh.start_package("konnectivity_server", fresh.server_arguments("--workers=2"))
    assert server.wait(20) == 1
    assert "server.crt" in server.log
