"""Tests of PROXY protocol headers that a trusted address never finishes: bounded, and no honest client waits."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from attack_site import MIB, honest, measured, memory_returns

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 8091\r\n"
BLOCK = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x04\x00"  # announces 1,024 bytes
BEGINNINGS = (LINE[:1], LINE[:20], LINE[:-1], BLOCK[:12], BLOCK, BLOCK + bytes(1000))
WAVES, IN_A_WAVE = 5, 2000
AWAITED = 1024  # most headers that are awaited at a time


def wave(port: int) -> None:
    """Begin a header on each of many connections, and leave when the oldest were ended in favour of the others."""
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(IN_A_WAVE)]
    for number, each in enumerate(crowd):
        with suppress(OSError):  # ended already
            each.sendall(BEGINNINGS[number % len(BEGINNINGS)])
    for each in crowd[: IN_A_WAVE - AWAITED]:
        with suppress(ConnectionResetError):  # ended with unread bytes
            assert each.recv(1) == b""
    for each in crowd:
        each.close()


async def test_10_000_unfinished_headers(site):
    server = site.server("--proxy-protocol=optional", "--proxy-protocol-trusted=127.0.0.0/8")
    site.agent()
    await asyncio.to_thread(wave, site.agent_port)  # creates caches and other objects that are made once
    async with honest(site) as client, measured(server) as cost:
        for _ in range(WAVES):
            await asyncio.to_thread(wave, site.agent_port)
    client.check(echo_ms=100)
    assert site.metric("server_limits_reached_total") >= WAVES * (IN_A_WAVE - AWAITED)
    assert cost.memory_growth < 8 * MIB
    assert cost.log_bytes < 64 * 1024
    await memory_returns(server, cost.memory_before, slack=0)
