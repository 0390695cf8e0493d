"""Tests of a server behind HAProxy with the PROXY protocol: it shows the clients, and refuses direct connections."""

from __future__ import annotations

import asyncio
import http.client
import json
import re

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.balancer import HAPROXY, MISSING, Balancer
from support.targets import listening

BALANCER = "127.0.0.9"  # the address from which HAProxy connects; programs connect from 127.0.0.1
VERSIONS = {"version 1": "send-proxy", "version 2": "send-proxy-v2"}
CLIENT = r"127\.0\.0\.1:\d+"


def agents(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/api/v1/agents")
        return json.load(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.skipif(HAPROXY is None, reason=MISSING)
@pytest.mark.parametrize("version", VERSIONS)
async def test_the_server_shows_the_clients_of_the_balancer(fresh, version):
    audit = fresh.directory / "audit.log"
    trusted = ("--proxy-protocol=required", f"--proxy-protocol-trusted={BALANCER}")
    server = await asyncio.to_thread(fresh.start_server, *trusted, f"--audit-log={audit}")
    more = f"source {BALANCER} {VERSIONS[version]}"
    with (
        Balancer(fresh.directory, free_port(), {"agents": fresh.agent_port}, more) as before_agents,
        Balancer(fresh.directory, free_port(), {"frontends": fresh.server_port}, more) as before_frontends,
    ):
        await asyncio.to_thread(fresh.start_agent, "--agent-id=behind", port=before_agents.port)
        (agent,) = await asyncio.to_thread(agents, fresh.admin_port)
        assert re.fullmatch(f"client@{CLIENT}", agent["peer"])
        for mode in ("grpc", "http-connect"):
            frontend = fresh.frontend(mode, unix=False) | {"address": f"127.0.0.1:{before_frontends.port}"}
            async with listening(targets.echo) as address, connect(**frontend) as tunnel:
                reader, writer = await tunnel.dial(address)
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
        async with asyncio.timeout(20):
            while len(lines := [json.loads(line) for line in audit.read_text().splitlines()]) < 4:
                await asyncio.sleep(0.05)
        assert all(re.fullmatch(CLIENT, line["client"]["address"]) for line in lines)
        assert all(re.fullmatch(CLIENT, line["agent"]["address"]) for line in lines)
        assert "PROXY protocol header" not in server.log  # health checks of HAProxy are no fault
        await asyncio.to_thread(fresh.start_agent, "--agent-id=direct", connects=False)
        await asyncio.to_thread(server.wait_for, "PROXY protocol header refused")
        assert [each["id"] for each in await asyncio.to_thread(agents, fresh.admin_port)] == ["behind"]
