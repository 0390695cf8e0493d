"""Tests of servers that dial through each other, so that an agent on one server serves all."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from konnectivity.client import DialError, DialFailure, connect
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.targets import listening


@dataclass
class Replica:
    """One of the servers, with its ports."""

    deployment: Deployment
    name: str
    process: ProgramProcess | None = None

    def __post_init__(self) -> None:
        self.agent_port, self.peer_port, self.health_port, self.admin_port = (free_port() for _ in range(4))
        self.socket = self.deployment.path(self.name) + ".sock"

    def start(self, peers: str, *more: str) -> ProgramProcess:
        path = self.deployment.path
        self.process = self.deployment.start_server(
            f"--server-id={self.name}",
            f"--agent-port={self.agent_port}",
            f"--health-port={self.health_port}",
            f"--admin-port={self.admin_port}",
            f"--server-port={free_port()}",
            f"--uds-name={self.socket}",
            f"--peers={peers}",
            f"--peer-port={self.peer_port}",
            "--peer-bind-address=127.0.0.1",
            f"--peer-cert={path('peer.crt')}",
            f"--peer-key={path('peer.key')}",
            f"--peer-ca-cert={path('peer-ca.crt')}",
            *more,
        )
        return self.process

    def frontend(self, mode="http-connect"):
        return {"address": f"unix:{self.socket}", "mode": mode}

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ready(self):
        return self.get(self.health_port, "/readyz")

    def metric(self, name):
        _, text = self.get(self.health_port, "/metrics")
        full = f"konnectivity_network_proxy_server_{name} "
        return next((float(line.removeprefix(full)) for line in text.splitlines() if line.startswith(full)), None)


@pytest.fixture
def replicas(fresh):
    """Return three servers, not started, each with the same list of all three as its peers."""
    authority = Authority.create("peers' own CA")
    (fresh.directory / "peer-ca.crt").write_bytes(authority.certificate_pem)
    authority.issue("peer", ips=("127.0.0.1",), server=True, client=True).write(fresh.directory, "peer")
    return [Replica(fresh, name) for name in ("one", "two", "three")]


def listed(replicas):
    return ",".join(f"127.0.0.1:{each.peer_port}" for each in replicas)


async def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.05)


async def echo(tunnel, address, data=b"hello"):
    reader, writer = await tunnel.dial(address)
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    writer.close()
    await writer.wait_closed()


async def test_a_server_that_drains_waits_for_its_connections_through_other_servers(fresh, replicas):
    """The server that drains has no agent of its own: all that is open on it goes through the other one."""
    replicas = replicas[:2]
    one, two = replicas
    for each in replicas:
        each.start(listed(replicas), "--graceful-shutdown-timeout=30s")
    fresh.start_agent(f"--proxy-server-port={two.agent_port}")
    await until(lambda: one.ready()[0] == 200)
    async with listening(targets.echo) as address, connect(**one.frontend()) as tunnel:
        reader, writer = await tunnel.dial(address)
        one.process.send(signal.SIGTERM)
        await asyncio.sleep(3)  # three times the idle time after which a server ends
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(one.process.wait) == 0
    assert "Cutting" not in one.process.log


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_a_server_without_agents_dials_through_one_that_has_some(fresh, replicas, mode):
    peers = listed(replicas)
    for each in replicas:
        each.start(peers)
    one, two, three = replicas
    assert await asyncio.to_thread(one.ready) == (500, "no connection to any proxy agent")
    fresh.start_agent("--agent-id=only", port=three.agent_port)
    await until(lambda: one.ready()[0] == two.ready()[0] == 200)
    data = os.urandom(5_000_000)
    async with listening(targets.echo) as address, connect(**one.frontend(mode)) as tunnel:
        reader, writer = await tunnel.dial(address)

        async def send():
            writer.write(data)
            writer.write_eof()
            await writer.drain()

        sending = asyncio.create_task(send())
        got = await reader.read(-1)
        await sending
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        writer.close()
        refused = None
        try:
            await tunnel.dial("127.0.0.1:1")
        except DialError as error:
            refused = error
        assert refused is not None
        assert "connection refused" in str(refused)
    one.process.wait_for('server="three"')
    assert await asyncio.to_thread(one.metric, "peer_dials_total") == 1
    assert await asyncio.to_thread(one.metric, 'peers{state="ready"}') == 1
    assert await asyncio.to_thread(three.metric, "peer_dials_total") == 0
    _, found = await asyncio.to_thread(one.get, one.admin_port, "/api/v1/route?destination=10.0.0.1:80")
    assert json.loads(found)["verdict"] == "no agent here is ready: other servers are asked, three"
    # The log of the server with the agent names the asking server and the route.
    three.process.wait_for('agent="only"', 2)


async def test_both_servers_audit_a_dial_that_one_passes_on(fresh, replicas, tmp_path):
    one, two = replicas[:2]
    for each in (one, two):
        each.start(listed(replicas[:2]), f"--audit-log={tmp_path / each.name}")
    fresh.start_agent("--agent-id=only", port=two.agent_port)
    await until(lambda: one.ready()[0] == 200)
    async with listening(targets.echo) as address, connect(**one.frontend()) as tunnel:
        await echo(tunnel, address)
        logs = [tmp_path / each.name for each in (one, two)]
        await until(lambda: all('"closed"' in each.read_text() for each in logs))
    schema = json.loads((Path(__file__).parents[2] / "docs" / "secure" / "audit.schema.json").read_text())
    lines = [[json.loads(line) for line in each.read_text().splitlines()] for each in logs]
    for line in lines[0] + lines[1]:
        jsonschema.Draft202012Validator(schema).validate(line)
    asked, passed_on = lines[0][-1], lines[1][-1]
    assert (asked["client"]["uid"], asked["relayed"], asked["peer"]["server"]) == (os.getuid(), False, "two")
    assert (passed_on["client"]["certificate"], passed_on["relayed"], passed_on["agent"]["id"]) == (
        "peer",
        True,
        "only",
    )
    assert asked["bytes_to_destination"] == passed_on["bytes_to_destination"] == 5


async def test_no_agent_available_means_that_there_is_none(replicas):
    peers = listed(replicas)
    for each in replicas:
        each.start(peers)
    await until(lambda: all(each.metric('peers{state="other"}') == 2 for each in replicas))
    async with connect(**replicas[0].frontend()) as tunnel:
        started = time.monotonic()
        with pytest.raises(DialError) as failed:
            await tunnel.dial("127.0.0.1:1")
        assert failed.value.failure is DialFailure.NO_AGENT
        assert time.monotonic() - started < 1
    assert all(each.ready()[0] == 500 for each in replicas)


async def test_a_dial_goes_to_the_peer_whose_agent_fits(fresh, replicas):
    """With destHost a peer without a matching agent reports so, and the next peer is asked."""
    peers = listed(replicas)
    for each in replicas:
        each.start(peers, "--proxy-strategies=destHost")
    for number, each in enumerate(replicas[1:], 2):
        fresh.start_agent(
            f"--agent-id=node-{number}", f"--agent-identifiers=ipv4=127.0.0.{number}", port=each.agent_port
        )
    await until(lambda: replicas[0].metric('peers{state="ready"}') == 2)
    async with listening(targets.echo, host="127.0.0.3") as address, connect(**replicas[0].frontend()) as tunnel:
        for _ in range(20):
            await echo(tunnel, address)
        with pytest.raises(DialError) as failed:
            await tunnel.dial("127.0.0.9:80")
        assert failed.value.failure is DialFailure.NO_AGENT
    assert await asyncio.to_thread(replicas[0].metric, "peer_dials_total") == 20


async def test_peers_come_and_go(fresh, replicas):
    peers = listed(replicas)
    one, two, _ = replicas
    one.start(peers)
    agent_flags = ("--agent-id=only", "--sync-interval=100ms", "--sync-interval-cap=500ms")
    two.start(peers)
    agent = fresh.start_agent(*agent_flags, port=two.agent_port)
    async with listening(targets.echo) as address, connect(**one.frontend()) as tunnel:
        await until(lambda: one.ready()[0] == 200)
        await echo(tunnel, address)
        reader, writer = await tunnel.dial(address)
        two.process.send(signal.SIGKILL)
        with pytest.raises(asyncio.IncompleteReadError):  # a unix socket shows a reset as the end of the stream
            await asyncio.wait_for(reader.readexactly(1), 2)
        writer.close()
        await until(lambda: one.ready()[0] == 500)
        two.process.wait()
        two.start(peers)
        agent.wait_for("Connected to server", 2)
        await until(lambda: one.ready()[0] == 200)
        await echo(tunnel, address)
        two.process.send(signal.SIGTERM)  # the server reports that it drains, and exits
        await until(lambda: one.ready()[0] == 500)
        assert await asyncio.to_thread(two.process.wait) == 0


async def test_the_successor_of_a_frozen_peer_takes_its_place(fresh, replicas):
    """A server with a frozen peer's id at another address replaces it, as when a host fails and its pod moves."""
    peers = listed(replicas)
    one, frozen, successor = replicas
    one.start(peers, "--heartbeat-interval=1s")
    frozen.start(peers)
    await asyncio.to_thread(one.process.wait_for, 'Connected to peer" peer="two"')
    frozen.process.send(signal.SIGSTOP)
    successor.name = "two"
    successor.start(peers)
    await asyncio.to_thread(fresh.start_agent, "--agent-id=only", port=successor.agent_port)
    await until(lambda: one.ready()[0] == 200, 12)
    async with listening(targets.echo) as address, connect(**one.frontend()) as tunnel:
        await echo(tunnel, address)
    frozen.process.send(signal.SIGCONT)


async def test_who_has_no_certificate_of_the_peers_is_no_peer(fresh, replicas):
    one, two, _ = replicas
    one.start("")
    path = fresh.path
    two.start(listed([one]), f"--peer-cert={path('client.crt')}", f"--peer-key={path('client.key')}")
    await asyncio.to_thread(two.process.wait_for, "Cannot connect to the peer")
    assert await asyncio.to_thread(two.metric, 'peers{state="ready"}') == 0
    assert "Connected to peer" not in two.process.log


async def test_agents_hear_of_a_server_that_peers_have_met(fresh, replicas):
    """Agents learn of a server from its peers, without leases and without a flag for the number of servers."""
    one, two, three = replicas
    one.start(listed(replicas))
    two.start(listed(replicas))
    hosts = ",".join(f"127.0.0.1:{each.agent_port}" for each in replicas)
    agent = fresh.start_agent(f"--proxy-server-host={hosts}", "--sync-interval=1s", "--sync-interval-cap=60s")
    await until(lambda: agent.log.count("Connected to server") == 2)
    await asyncio.sleep(4)  # the search for the third server has slowed down to every few seconds
    three.start(listed(replicas))
    started = time.monotonic()
    await asyncio.to_thread(agent.wait_for, "Connected to server", 3)
    assert time.monotonic() - started < 2
    await asyncio.to_thread(agent.wait_for, "Number of servers changed")
