"""Tests of an agent with a dial policy: errors at frontends, metrics, and one lookup per name."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from collections import Counter

import pytest

from konnectivity.client import DialError, connect
from konnectivity.net.destination_policy import parse
from konnectivity_agent.dialer import DialCounters, Dialer
from konnectivity_agent.resolver import Resolver, SystemResolver
from support import grpc_peer, targets
from support.targets import listening

LOOPBACK = ("127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "", "[::ffff:7f00:1]")
NO_HOST = (
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.0.0.1\0.internal",
    "\uff11\uff12\uff17.0.0.1",
)


def denied(process):
    with urllib.request.urlopen(f"http://127.0.0.1:{process.health_port}/metrics", timeout=10) as answer:
        found = re.findall(r'agent_dials_denied_total\{reason="(\w+)"\} (\d+)', answer.read().decode())
    return {reason: int(count) for reason, count in found}


async def why_not(tunnel, address):
    with pytest.raises(DialError) as caught:
        await tunnel.dial(address)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_metadata_is_refused_unless_it_is_allowed(deployment, mode):
    async with connect(**deployment.frontend(mode, unix=True)) as tunnel:
        for address in ("169.254.169.254:80", "[::ffff:a9fe:a9fe]:80", "[fd00:ec2::254]:80"):
            text = await why_not(tunnel, address)
            assert f"dial tcp {address}: refused by the agent's policy: " in text
            assert text.endswith("serves cloud metadata")


async def test_a_denied_network_in_every_spelling(fresh):
    fresh.start_server()
    agent = fresh.start_agent("--deny-destination=127.0.0.0/8,[::1]", "--deny-destination=*.internal")
    async with listening(targets.echo, "0.0.0.0") as address, connect(**fresh.frontend("grpc", unix=True)) as tunnel:
        port = address.rpartition(":")[2]
        for host in LOOPBACK:
            text = await why_not(tunnel, f"{host}:{port}")
            assert text.endswith(f"refused by the agent's policy: 127.0.0.1 port {port} is denied by 127.0.0.0/8")
        for host in NO_HOST:
            assert (await why_not(tunnel, f"{host}:{port}")).endswith("no such host")
        assert "is denied by" in await why_not(tunnel, f"localhost:{port}")
    assert denied(agent) == {"denied": len(LOOPBACK) + 1}
    await asyncio.to_thread(agent.wait_for, "Dial refused")
    assert "agent_endpoint_dial_failure_total" not in urllib.request.urlopen(
        f"http://127.0.0.1:{agent.health_port}/metrics", timeout=10
    ).read().decode()  # fmt: skip


async def test_only_what_is_allowed(fresh):
    fresh.start_server()
    async with listening(targets.echo) as address, listening(targets.echo) as other:
        port = address.rpartition(":")[2]
        agent = fresh.start_agent(f"--allow-destination=localhost:{port}", "--allow-destination=10.0.0.0/8")
        async with connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
            reader, writer = await tunnel.dial(f"LOCALHOST:{port}")
            writer.write(b"allowed by name")
            assert await reader.readexactly(15) == b"allowed by name"
            writer.close()
            for refused in (address, other, other.replace("127.0.0.1", "localhost")):
                assert "refused by the agent's policy: nothing allows" in await why_not(tunnel, refused)
        assert denied(agent) == {"not_allowed": 3}


async def test_the_status_for_a_connect_client(deployment):
    reader, writer = await asyncio.open_unix_connection(deployment.socket)
    writer.write(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 dial tcp ")
    writer.close()


@pytest.mark.parametrize("protocol", ["udp", "unix", "unixpacket", "ip"])
async def test_other_protocols_are_refused(deployment, protocol):
    async with grpc_peer.frontend(deployment) as frontend:
        await frontend.say(grpc_peer.wire.dial_req("/run/docker.sock", 1, protocol))
        assert (await frontend.hear()).dialResponse.error == f"dial {protocol}: unknown network {protocol}"


class Asked:
    """Pending dial whose outcome is awaited."""

    protocol, on_cancel = "tcp", None

    def __init__(self, address):
        self.address, self.answer = address, asyncio.get_running_loop().create_future()

    def connected(self, relay):
        self.answer.set_result("connected")

    def failed(self, text):
        self.answer.set_result(text)


def test_an_agent_relies_on_no_check_of_a_server(monkeypatch):
    """A dial to an invalid host name reaches neither the agent's policy nor its resolver, though a server sent it."""

    def resolver(host, port, *args, **kwargs):
        raise AssertionError(f"{host!r} was looked up")

    async def dial():
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            monkeypatch.setattr(socket, "getaddrinfo", resolver)
            dials = DialCounters()
            for rules in (["*.internal"], ["*"], []):
                dialer = Dialer(
                    tasks, dials, parse(rules, []), Resolver(Counter(), system=SystemResolver(getaddrinfo=resolver))
                )
                for host in NO_HOST:
                    asked = Asked(f"{host}:80")
                    dialer.open(asked)
                    assert (await asked.answer).endswith("no such host")
            assert dials.failures == {"unknown": 3 * len(NO_HOST)}

    asyncio.run(dial())


def test_of_several_addresses_only_those_allowed_are_dialled(monkeypatch):
    """Of a name's two addresses the agent dials only the allowed one; only 127.0.0.66 has a listener."""

    def resolver(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.66", "127.0.0.1")]

    async def dial():
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks, listening(targets.echo, "127.0.0.66") as address:
            monkeypatch.setattr(socket, "getaddrinfo", resolver)
            for deny, wanted in ((["127.0.0.66"], "connection refused"), (["127.0.0.1"], "connected")):
                asked = Asked(address.replace("127.0.0.66", "both.example"))
                Dialer(
                    tasks,
                    DialCounters(),
                    parse([], deny),
                    Resolver(Counter(), system=SystemResolver(getaddrinfo=resolver)),
                ).open(asked)
                assert wanted in await asked.answer

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(dial())


def test_a_name_is_looked_up_once_and_what_was_judged_is_dialled(monkeypatch):
    """The agent dials the address that the policy checked and never looks the name up a second time."""
    asked = []

    def resolver(host, port, *args, **kwargs):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.66"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def dial_twice():
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks, listening(targets.echo) as address:
            monkeypatch.setattr(socket, "getaddrinfo", resolver)
            dialer = Dialer(
                tasks,
                DialCounters(),
                parse(["127.0.0.1"], []),
                Resolver(Counter(), system=SystemResolver(getaddrinfo=resolver)),
            )
            for wanted in ("connected", "nothing allows 127.0.0.66"):
                dial = Asked(address.replace("127.0.0.1", "rebinding.example"))
                dialer.open(dial)
                assert wanted in await dial.answer

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(dial_twice())
    assert asked == ["rebinding.example"] * 2
