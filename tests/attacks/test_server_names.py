"""Tests of strangers at a port of many TLS server names: unfinished, cut and nameless ClientHellos, 10,000 and more."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import pytest
from attack_site import measured, memory_returns

from konnectivity.client import DialError, connect
from support.tenant_site import TenantSite

ALERT = bytes((21, 3, 3, 0, 2, 2))  # record with a fatal alert
UNRECOGNIZED_NAME = 112
WAVES, IN_A_WAVE = 5, 2000
STRANGERS = 600


@pytest.fixture
def site(tmp_path):
    site = TenantSite(tmp_path)
    site.add("a")
    yield site
    site.deployment.stop()


def hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def in_records(message: bytes) -> bytes:
    """Return a handshake message in records of one byte each, which OpenSSL permits."""
    return b"".join(b"\x16\x03\x01\x00\x01" + message[at : at + 1] for at in range(len(message)))


def wave(port: int, beginnings: list[bytes]) -> None:
    """Begin a ClientHello on each of many connections that are open at one time, then leave."""
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(IN_A_WAVE)]
    for number, each in enumerate(crowd):
        each.sendall(beginnings[number % len(beginnings)])
    for each in crowd:
        each.close()


def strangers(port: int, data: bytes, count: int) -> None:
    """Send a ClientHello for a name that no tenant has, and check the alert."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(data)
            assert sock.recv(100) == ALERT + bytes((UNRECOGNIZED_NAME,))


async def dial(site) -> None:
    """Dial as an honest frontend, and check the answer: its tenant has no agent."""
    async with connect(**site.frontend("a")) as tunnel:
        with pytest.raises(DialError, match="No agent available"):
            await tunnel.dial("127.0.0.1:1")


async def test_unfinished_hellos_and_unknown_names_cost_little(site):
    server = site.start_server()
    ports = (site.deployment.agent_port, site.deployment.server_port)
    named = hello(site.name_of("a"))
    beginnings = [named[:1], named[:100], named[:-1], in_records(named[5:])[:-1], in_records(named[5:])[:300]]
    await asyncio.to_thread(wave, ports[0], beginnings)  # creates caches and other objects that are made once
    async with measured(server) as cost:
        for number in range(WAVES):
            await asyncio.to_thread(wave, ports[number % 2], beginnings)
            await dial(site)
        for name in (None, "b.tenants.example", "x" * 60 + ".example"):
            await asyncio.to_thread(strangers, ports[1], hello(name), STRANGERS // 3)
    assert cost.memory_growth < IN_A_WAVE * 12 * 1024
    assert cost.cpu_s < 20
    assert cost.log_bytes < 64 * 1024
    await memory_returns(server, cost.memory_before, slack=0)
