"""Tests of a server with one TCP port for agents, gRPC frontends, HTTP CONNECT frontends and peer servers."""

from __future__ import annotations

import asyncio
import itertools
import signal
import ssl
from pathlib import Path

import pytest

from konnectivity.client import connect
from konnectivity.http2 import events
from support import targets
from support.http2_peer import CONNECT, PROXY, agent, request
from support.one_port import OnePort
from support.targets import listening

WAYS = list(itertools.product(("grpc", "http-connect"), (True, False)))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = OnePort(tmp_path_factory.mktemp("one-port"))
    site.start_server("--server-id=server-1")
    site.start_agent("--agent-id=agent-1", "--alpn-proto=konnectivity")
    yield site
    site.stop()


async def echo(tunnel, address):
    reader, writer = await tunnel.dial(address)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await writer.wait_closed()


async def head(site, context, request=b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n"):
    """Return the status line of an HTTP request on the port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.agent_port, ssl=context)
    try:
        writer.write(request)
        return (await asyncio.wait_for(reader.readline(), 10)).decode()
    finally:
        writer.transport.abort()


async def status(peer, headers):
    """Return status and message of a gRPC call."""
    await peer.call(headers)
    answer = dict((await peer.hear(events.HeadersReceived)).headers)
    return answer.get("grpc-status"), answer.get("grpc-message", "")


@pytest.mark.parametrize(("mode", "unix"), WAYS)
async def test_every_frontend_is_served_beside_agents(site, mode, unix):
    async with listening(targets.echo) as address, connect(**site.frontend(mode, unix)) as tunnel:
        await echo(tunnel, address)


async def test_http_connect_needs_no_alpn(site):
    context = ssl.create_default_context(cafile=site.path("ca.crt"))
    context.load_cert_chain(site.path("client.crt"), site.path("client.key"))
    async with listening(targets.echo) as address:
        line = await head(site, context, f"CONNECT {address} HTTP/1.1\r\n\r\n".encode())
    assert line == "HTTP/1.1 200 Connection Established\r\n"


@pytest.mark.parametrize(
    ("name", "path", "roles"),
    [("agent", PROXY, "agents, and the call is for frontends"), ("client", CONNECT, "frontends, and the call is for")],
)
async def test_a_credential_opens_no_call_of_another_role(site, name, path, roles):
    peer = await site.http2_peer(name)
    try:
        code, text = await status(peer, request(path, ("agentid", "intruder")))
        assert (code, roles in text) == ("7", True), text
    finally:
        peer.close()


async def test_an_agent_cannot_dial_by_http_connect(site):
    line = await head(site, site.context("agent", "http/1.1"))
    assert line.startswith("HTTP/1.1 403 the credential is one of agents, which may not dial")


async def test_a_client_without_a_certificate_gets_the_alert(site):
    context = ssl.create_default_context(cafile=site.path("ca.crt"))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        await head(site, context)


async def test_peer_servers_dial_through_the_one_port(tmp_path):
    """Two servers with one port each; the agent is connected to the second only."""
    one, two = OnePort(tmp_path / "one"), OnePort(tmp_path / "two")
    for name in ("server.crt", "server.key", "ca.crt", "agents.crt", "agent.crt", "agent.key"):
        Path(two.path(name)).write_bytes(Path(one.path(name)).read_bytes())
    try:
        first = one.start_server("--server-id=one", *one.peer_arguments(two.agent_port))
        two.start_server("--server-id=two", *two.peer_arguments(one.agent_port))
        two.start_agent("--agent-id=agent-2")
        await asyncio.to_thread(first.wait_for, "Connected to peer")
        async with listening(targets.echo) as address, connect(**one.frontend("http-connect", unix=False)) as tunnel:
            await echo(tunnel, address)
        peer = await one.http2_peer("server")  # the certificate of a peer server
        for headers, other in ((agent("intruder"), "agents"), (request(PROXY), "frontends")):
            code, text = await status(peer, headers)
            assert (code, text) == ("7", f"the credential is one of peers, and the call is for {other}")
        peer.close()
    finally:
        one.stop()
        two.stop()


async def test_a_draining_server_takes_no_agent_and_serves_its_frontends(tmp_path):
    site = OnePort(tmp_path)
    try:
        server = site.start_server("--graceful-shutdown-timeout=30s")
        site.start_agent()
        newcomer = await site.http2_peer("agent")
        async with (
            listening(targets.echo) as address,
            connect(**site.frontend("http-connect", unix=False)) as tunnel,
        ):
            _, writer = await tunnel.dial(address)
            server.send(signal.SIGTERM)
            await asyncio.to_thread(server.wait_for, "Signal received, draining")
            assert await status(newcomer, agent("late")) == ("14", "the server is shutting down")
            await echo(tunnel, address)
            newcomer.close()
            writer.close()
            await writer.wait_closed()
        assert await asyncio.to_thread(server.wait) == 0
    finally:
        site.stop()
