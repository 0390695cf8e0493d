"""Tests of gRPC messages that cost much more to read than to send: reading them delays no other client."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from attack_site import MIB, honest, measured
from raw_http2 import CONNECT, PROXY, call, greeting, headers

from konnectivity import wire
from konnectivity.grpc.framing import PREFIX
from konnectivity.http2 import frames

ECHO_MS = 150.0  # the attacker keeps a core busy, and the honest client shares the other one with the server


def framed(message: bytes) -> bytes:
    return PREFIX.pack(0, len(message)) + message


def send(connection: socket.socket, messages: bytes, path: bytes) -> None:
    """Open a call and send the bytes in DATA frames of 16 KiB, as fast as the server reads, until it disconnects."""
    connection.settimeout(2)
    connection.sendall(greeting() + headers(1, call(path, (b"agentid", b"evil"))))
    with contextlib.suppress(OSError):
        for at in range(0, len(messages), 16_384):
            connection.sendall(frames.frame(frames.DATA, 0, 1, messages[at : at + 16_384]))


MESSAGES = {
    "nothing": framed(b"") * 200_000,
    "no packet": framed(b"\xff") * 80_000,
    "a type that nobody knows": framed(b"\x08\x63") * 70_000,
    "dials without an address": framed(wire.dial_req("", 1)) * 20_000,
    "data of no connection": framed(wire.data_head(99, 1) + b"x") * 30_000,
    "closes of no connection": framed(wire.close_req(99)) * 30_000,
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_messages_of_a_stranger(token_site, name):
    server = token_site.server()
    token_site.agent()
    async with honest(token_site) as client, measured(server) as cost:
        with token_site.agent_socket(certificate=False) as attacker:
            await asyncio.to_thread(send, attacker, MESSAGES[name], CONNECT)
            await asyncio.sleep(3)
    client.check(echo_ms=ECHO_MS)
    assert cost.cpu_s < 2.5
    assert cost.log_bytes < 100_000
    assert cost.memory_growth < 20 * MIB


@pytest.mark.parametrize("name", MESSAGES)
async def test_messages_of_an_agent(site, name):
    server = site.server()
    site.agent()
    async with honest(site) as client, measured(server) as cost:
        with site.agent_socket() as attacker:
            await asyncio.to_thread(send, attacker, MESSAGES[name], CONNECT)
            await asyncio.sleep(3)
    client.check(echo_ms=ECHO_MS, slowest_ms=5000)  # a dial to the hostile agent is retried after a second
    assert cost.log_bytes < 100_000
    assert cost.memory_growth < 20 * MIB


@pytest.mark.parametrize("name", MESSAGES)
async def test_messages_of_a_frontend(site, name):
    server = site.server("--mode=grpc,http-connect", "-v=0")
    site.agent()
    async with honest(site) as client, measured(server) as cost:
        with socket.socket(socket.AF_UNIX) as attacker:
            attacker.connect(site.socket)
            await asyncio.to_thread(send, attacker, MESSAGES[name], PROXY)
            await asyncio.sleep(3)
    client.check(echo_ms=ECHO_MS)
    assert cost.log_bytes < 100_000
    assert cost.memory_growth < 20 * MIB


async def test_empty_messages(site):
    server = site.server()
    with site.agent_socket() as attacker:
        async with measured(server) as cost:
            await asyncio.to_thread(send, attacker, MESSAGES["nothing"], CONNECT)
            await asyncio.sleep(0.5)
    assert cost.cpu_s < 0.5
    assert cost.log_bytes < 20_000
    assert site.metric("server_limits_reached_total") == 1
