"""Tests of servers that are replaced, silent or share an id: time until an agent has a live one, and its log."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import signal
import time
from contextlib import asynccontextmanager

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening


def scraped(agent, name):
    connection = http.client.HTTPConnection("127.0.0.1", agent.health_port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = (line for line in text.splitlines() if line.startswith(f"konnectivity_network_proxy_agent_{name} "))
    return next(float(line.rpartition(" ")[2]) for line in found)


async def until(condition, seconds=10.0):
    """Wait until the condition is true and return the seconds that it took."""
    started = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - started < seconds, "it did not come true in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def beside(fresh, name, port, *more):
    """Start another server on ports of its own."""
    return fresh.start_server(
        f"--server-id={name}",
        f"--agent-port={port}",
        f"--health-port={free_port()}",
        f"--admin-port={free_port()}",
        f"--server-port={free_port()}",
        f"--uds-name={fresh.path(f'beside-{port}.sock')}",
        *more,
    )


@asynccontextmanager
async def address_of(ports):
    """Forward one address, like a Service, to the first of `ports`, which the caller may change; yield the address."""

    async def forward(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", ports[0])
        except OSError:
            writer.close()
            return
        pumps = [pump(reader, far_writer), pump(far_reader, writer)]
        await asyncio.gather(*pumps, return_exceptions=True)

    async def pump(source, sink):
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("pause_s", [0.0, 4.0])
async def test_a_server_that_is_replaced_with_a_connection_open_is_found_within_2_s(fresh, pause_s):
    """An agent finds the successor of its only server within 2 s although a connection is open, as in a rollout."""
    old = fresh.start_server("--graceful-shutdown-timeout=10s")
    agent = fresh.start_agent("--sync-interval=1s")  # the default; other tests use a shorter interval
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        old.send(signal.SIGTERM)
        await asyncio.to_thread(old.wait, 20)
        writer.close()
    await asyncio.sleep(pause_s)
    await asyncio.to_thread(fresh.start_server)
    assert await until(lambda: agent.log.count("Connected to server") == 2) < 2


@pytest.mark.parametrize("successor", ["server-0", "server-1"])
async def test_the_successor_of_a_frozen_server_is_reached_when_that_one_is_suspected(fresh, successor):
    """An agent reaches a frozen server's successor at the same address, with the same id or another one."""
    frozen = await asyncio.to_thread(fresh.start_server, "--server-id=server-0")
    ports = [fresh.agent_port]
    async with address_of(ports) as port, listening(targets.echo) as address:
        agent = await asyncio.to_thread(lambda: fresh.start_agent("--heartbeat-interval=1s", port=port))
        async with connect(**fresh.frontend("http-connect", True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            ports[0] = free_port()
            await asyncio.to_thread(beside, fresh, successor, ports[0])
            frozen.send(signal.SIGSTOP)
            assert await until(lambda: agent.log.count("Connected to server") == 2) < 6
            assert scraped(agent, "suspect_servers") == (successor == "server-1")
            # The server was only slow, so open connections are kept.
            frozen.send(signal.SIGCONT)
            writer.write(b"again")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"again"
            writer.close()
    if successor == "server-0":
        await until(lambda: "Server connection ended" in agent.log)
    assert scraped(agent, "open_server_connections") == (1 if successor == "server-0" else 2)


@pytest.mark.parametrize("counts", [1, 2])
def test_two_servers_with_one_id_are_told_once_with_both_addresses(fresh, counts):
    other = free_port()
    fresh.start_server("--server-id=twin", f"--server-count={counts}")
    beside(fresh, "twin", other, f"--server-count={counts}")
    agent = fresh.start_agent(f"--proxy-server-host=127.0.0.1:{fresh.agent_port},127.0.0.1:{other}")
    agent.wait_for("Two servers have the same server ID")
    time.sleep(3)
    (line,) = [line for line in agent.log.splitlines() if "Two servers have the same server ID" in line]
    assert line.startswith("W")
    assert f"127.0.0.1:{fresh.agent_port}" in line
    assert f"127.0.0.1:{other}" in line
    assert scraped(agent, "doubled_server_ids") == 1


def test_one_server_behind_two_addresses_is_not_taken_for_two(fresh):
    fresh.start_server("--server-id=single", "--agent-bind-address=")
    agent = fresh.start_agent(f"--proxy-server-host=127.0.0.1:{fresh.agent_port},localhost:{fresh.agent_port}")
    time.sleep(4)
    assert "same server ID" not in agent.log
    assert scraped(agent, "doubled_server_ids") == 0


def test_fewer_servers_than_there_are_is_told_once(fresh):
    fresh.start_server("--server-id=lonely", "--server-count=2")
    agent = fresh.start_agent()
    agent.wait_for("Fewer servers found than there are")
    time.sleep(2)
    assert agent.log.count("Fewer servers found than there are") == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("ca.crt", b""),
        ("ca.crt", b"-----BEGIN CERTIFICATE-----\n\xff"),
        ("client.crt", b"-----BEGIN CERTIFICATE-----\n\xff"),
        ("client.key", b"one\ntwo\n"),
        ("token", b"\xff\xfe\x00\x80"),
        ("token", b""),
    ],
)
async def test_files_that_make_no_sense_at_a_reconnect_end_nothing(fresh, file, content):
    """Invalid files do not end the open tunnel; once they are corrected, the other tunnel reconnects as well."""
    other = free_port()
    (fresh.directory / "token").write_text("a-token\n")
    own = fresh.directory / "agent"
    own.mkdir()
    for each in ("ca.crt", "client.crt", "client.key", "token"):
        shutil.copy(fresh.directory / each, own)
    await asyncio.to_thread(fresh.start_server, "--server-id=one")
    lost = await asyncio.to_thread(beside, fresh, "two", other)
    agent = await asyncio.to_thread(
        fresh.start_agent,
        f"--proxy-server-host=127.0.0.1:{fresh.agent_port},127.0.0.1:{other}",
        f"--service-account-token-path={own / 'token'}",
        f"--ca-cert={own / 'ca.crt'}",
        f"--agent-cert={own / 'client.crt'}",
        f"--agent-key={own / 'client.key'}",
    )
    await asyncio.to_thread(agent.wait_for, "Connected to server", 2)
    path = own / file
    before = path.read_bytes()
    path.write_bytes(content)
    lost.send(signal.SIGKILL)
    await asyncio.to_thread(lost.wait)
    await asyncio.to_thread(beside, fresh, "two", other)
    await asyncio.sleep(1.5)
    assert agent.returncode is None
    assert "Traceback" not in agent.log
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", True)) as tunnel:
        _, writer = await tunnel.dial(address)
        writer.close()
    path.write_bytes(before)
    await until(lambda: agent.log.count("Connected to server") == 3, 15)
