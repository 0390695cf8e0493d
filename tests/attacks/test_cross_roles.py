"""Tests of forged and mistaken credentials on a port that several roles share: none gets through."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections import Counter
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from attack_site import AttackSite, measured

from konnectivity import wire
from konnectivity.client import connect
from konnectivity.http2 import events
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.http2_peer import CONNECT, PROXY, HostilePeer, request
from support.kubernetes_api import KubernetesApi
from support.one_port import OnePort
from support.targets import listening

CALLS = 90  # on one connection, whose streams are limited to 100
CONNECTIONS = 3  # of each pair of a credential and a path
FORGERIES = 60  # handshakes of each kind of forged certificate
PEER = "/konnectivity.PeerService/Proxy"
OTHERS = {"agent": (PROXY, PEER), "client": (CONNECT, PEER), "server": (CONNECT, PROXY)}
DIAL = wire.dial_req("127.0.0.1:1", 7)


@pytest.fixture
def site(tmp_path):
    site = OnePort(tmp_path)
    yield site
    site.stop()


async def calls(site, context, path):
    """Make calls of another role on one connection, each with a packet of that role, and return their statuses."""
    peer = HostilePeer(*await asyncio.open_connection("127.0.0.1", site.agent_port, ssl=context))
    statuses: Counter[str] = Counter()
    try:
        for number in range(CALLS):
            stream_id = await peer.call(request(path, ("agentid", f"intruder-{number}"), ("serverid", "intruder")))
            with suppress(ConnectionError):
                await peer.send(stream_id, DIAL)
            answer = dict((await peer.hear(events.HeadersReceived)).headers)
            statuses[answer.get("grpc-status", "accepted")] += 1
    finally:
        peer.close()
    return statuses


async def dials(site, context, count):
    """Send HTTP CONNECT on connections of their own, and return the statuses of the answers."""
    statuses: Counter[str] = Counter()
    for _ in range(count):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", site.agent_port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            statuses["refused"] += 1
            continue
        try:
            writer.write(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 10)
            statuses[line.split()[1].decode() if line else "refused"] += 1
        except (ssl.SSLError, ConnectionError):
            statuses["refused"] += 1
        finally:
            writer.transport.abort()
    return statuses


def forged(site):
    """Yield TLS contexts of clients that no authority of the server vouches for, by the kind of the forgery."""
    trusted = site.authorities["frontends"]
    for kind, authority, sent_along, how in (
        ("CA of its own", Authority.create("another CA"), b"", {"organization": "system:masters"}),
        ("CA with a trusted name", Authority.create("CA of frontends"), b"", {}),
        ("trusted CA sent along", Authority.create("another CA"), trusted.certificate_pem, {}),
        ("expired", trusted, b"", {"valid_for": timedelta(seconds=-5)}),
    ):
        certificate, _ = authority.issue("client", client=True, **how).write(site.directory, "forged")
        with certificate.open("ab") as file:
            file.write(sent_along)
        yield kind, site.context("forged", "http/1.1")
    trusted.issue("client", server=True).write(site.directory, "forged")
    yield "for servers only", site.context("forged", "http/1.1")
    yield "no certificate", ssl.create_default_context(cafile=site.path("ca.crt"))


def agents(site):
    """Return the ids of the server's agents."""
    with closing(http.client.HTTPConnection("127.0.0.1", site.admin_port, timeout=10)) as connection:
        connection.request("GET", "/api/v1/agents")
        return [each["id"] for each in json.load(connection.getresponse())]


async def test_no_credential_opens_what_belongs_to_another_role(site):
    """Thousands of calls and dials with real credentials of another role, and forged ones, are all refused."""
    server = site.start_server("--max-new-stream-rate=100000", *site.peer_arguments(1))
    site.start_agent("--agent-id=real")
    async with measured(server) as cost:
        for name, paths in OTHERS.items():
            for path in paths:
                for found in await asyncio.gather(*(calls(site, site.context(name), path) for _ in range(CONNECTIONS))):
                    assert found == {"7": CALLS}
        for name in ("agent", "server"):
            assert await dials(site, site.context(name, "http/1.1"), FORGERIES) == {"403": FORGERIES}
        for kind, context in forged(site):
            assert await dials(site, context, FORGERIES) == {"refused": FORGERIES}, kind
    assert cost.memory_growth < 8 * 1024 * 1024
    assert cost.log_bytes < 64 * 1024
    assert "intruder" not in server.log
    assert await asyncio.to_thread(agents, site) == ["real"]
    async with listening(targets.echo) as address, connect(**site.frontend("grpc", unix=False)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


class TokenPort(OnePort, AttackSite):
    """Deployment with one port whose agents show tokens and no certificates."""


async def test_a_stranger_without_certificate_is_an_agent_without_token(tmp_path):
    """Where agents show tokens, a client without a certificate can ask to register, and nothing else."""
    with KubernetesApi(tmp_path / "api") as api:
        site = TokenPort(tmp_path)
        site.accept_tokens_of(api)
        try:
            site.server("--max-new-stream-rate=100000")
            site.agent("--agent-id=real")
            stranger = ssl.create_default_context(cafile=site.path("ca.crt"))
            assert await dials(site, stranger, FORGERIES) == {"403": FORGERIES}
            stranger.set_alpn_protocols(["h2"])
            for path, statuses in ((PROXY, {"7"}), (PEER, {"12"}), (CONNECT, {"2", "9"})):
                assert set(await calls(site, stranger, path)) <= statuses
            assert await calls(site, site.context("client"), CONNECT) == {"7": CALLS}
            assert await asyncio.to_thread(agents, site) == ["real"]
        finally:
            site.stop()
