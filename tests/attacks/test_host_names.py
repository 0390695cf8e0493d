"""Tests of host names that a policy and the C library read differently, and of addresses that end a line of HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from konnectivity import wire
from konnectivity.testing.deployment import free_port
from konnectivity.tool.pki.authority import Authority
from konnectivity_server.peers import peer_protocol
from support import grpc_peer, targets
from support.targets import listening

ALLOWED = "*.allowed.example"
NO_HOSTS = (
    "127.0.0.1\0.allowed.example",
    "localhost\0.allowed.example",
    "127.0.0.1\0",
    "127.0.0.1 .allowed.example",
    "127.0.0.1\t.allowed.example",
    "127.0.0.1\n.allowed.example",
    "127.0.0.1%.allowed.example",
    "127.0.0.1%00.allowed.example",
    "127.0.0.1/.allowed.example",
    "127.0.0.1#.allowed.example",
    "127.0.0.1?.allowed.example",
    "user@127.0.0.1",
    "a..allowed.example",
    ".allowed.example",
    f"{'a' * 64}.allowed.example",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020.0.1",
    "b\u00fccher.allowed.example",
    "[::1%\0.allowed.example]",
    "*",
)


@pytest.fixture
def allowing(site):
    """Start a server, an agent that may dial names of one domain only, and a target on loopback."""
    site.peer_port = free_port()
    authority = Authority.create("CA of the peers")
    authority.issue("peer", dns=("localhost",), ips=("127.0.0.1",), server=True, client=True).write(
        site.directory, "peer"
    )
    (site.directory / "peer-ca.crt").write_bytes(authority.certificate_pem)
    site.server(
        f"--peers=127.0.0.1:{site.peer_port}",
        f"--peer-port={site.peer_port}",
        "--peer-bind-address=127.0.0.1",
        f"--peer-cert={site.path('peer.crt')}",
        f"--peer-key={site.path('peer.key')}",
        f"--peer-ca-cert={site.path('peer-ca.crt')}",
    )
    site.agent(f"--allow-destination={ALLOWED}")
    return site


async def refused(call: grpc_peer.Call, address: str, number: int) -> str:
    await call.say(wire.dial_req(address, number))
    while (answer := await call.hear()).type != wire.packet_types.DIAL_RSP:
        pass
    assert answer.dialResponse.random == number
    return answer.dialResponse.error


def check(text: str) -> None:
    assert text.endswith(": no such host"), text
    assert text.isascii()
    assert text.isprintable()


async def test_a_grpc_frontend_cannot_dial_what_is_no_host(allowing):
    async with listening(targets.echo) as address:
        for number, host in enumerate(NO_HOSTS, 1):
            async with grpc_peer.frontend(allowing) as frontend:
                check(await refused(frontend, f"{host}:{address.rpartition(':')[2]}", number))
    assert allowing.metric("agent_dials_denied_total") == 0
    assert allowing.metric("server_dial_failure_count") == len(NO_HOSTS)


async def test_a_peer_server_cannot_dial_what_is_no_host(allowing):
    path = allowing.directory
    files = [Path(path / name).read_bytes() for name in ("peer-ca.crt", "peer.key", "peer.crt")]
    target = f"localhost:{allowing.peer_port}"
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files)) as channel:
        metadata = ((peer_protocol.SERVER_ID, "another"), *grpc_peer.EXTENDED)
        call = grpc_peer.Call(channel.stream_stream(peer_protocol.PATH)(metadata=metadata))
        for number, host in enumerate(NO_HOSTS, 1):
            check(await refused(call, f"{host}:80", number))


async def test_a_connect_frontend_cannot_dial_what_is_no_host(allowing):
    for host in NO_HOSTS:
        reader, writer = await asyncio.open_unix_connection(allowing.socket)
        writer.write(f"CONNECT {host}:80 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 "), (host, answer)


async def test_a_connect_target_out_of_the_host_header_is_checked_too(allowing):
    reader, writer = await asyncio.open_unix_connection(allowing.socket)
    writer.write(b"CONNECT /path HTTP/1.1\r\nHost: 127.1:80\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"no such host")
