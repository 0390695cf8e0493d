"""Tests of header blocks that cost much more to read than to send: they delay no one, and soon end the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from attack_site import honest, measured
from raw_http2 import CONNECT, EMOJI, call, greeting, headers, literal, newest

from konnectivity.http2 import frames

SECONDS = 3.0
ECHO_MS = 150.0  # the attacker keeps a core busy, and the honest client shares the other one with the server
TINY = literal(b"a", b"", indexed=True)


async def flood(site, first: bytes, again: bytes) -> int:
    """Send `again` on stream 1 for `SECONDS`, reconnecting after each disconnect; return the number of bytes sent."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    return sum(await asyncio.gather(*(loop.run_in_executor(None, _flood, site, first, again, loop, end) for _ in "ab")))


def _flood(site, first: bytes, again: bytes, loop: asyncio.AbstractEventLoop, end: float) -> int:
    sent = 0
    while loop.time() < end:
        with contextlib.suppress(OSError), site.agent_socket() as attacker:
            attacker.settimeout(1)
            attacker.sendall(greeting() + first)
            while loop.time() < end:
                attacker.sendall(again)
                sent += len(again)
    return sent


REQUEST = call(CONNECT)
RESET = frames.rst_stream(1, 8)
FLOODS = {
    "references to a tiny field": (headers(1, REQUEST + TINY) + RESET, headers(1, newest(0) * 970) * 250),
    "a hundred references": (headers(1, REQUEST + TINY) + RESET, headers(1, newest(0) * 90) * 2000),
    "usual fields on a reset stream": (headers(1, REQUEST) + RESET, headers(1, REQUEST) * 1000),
    "updates of the table's size": (headers(1, REQUEST) + RESET, headers(1, b"\x20" * 16_000) * 16),
    "Huffman codes": (headers(1, REQUEST) + RESET, headers(1, b"\x00\x01a\xff\xe1\x7c" + b"\x07" * 16_096) * 16),
    "long texts": (
        headers(1, REQUEST + literal(b"z", EMOJI + b"a" * 3500, indexed=True)) + RESET,
        headers(1, newest(0) * 8) * 5000,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods(site, name):
    server = site.server()
    site.agent()
    async with honest(site) as client, measured(server) as cost:
        assert await flood(site, *FLOODS[name]) > 0
    client.check(echo_ms=ECHO_MS)
    assert cost.log_bytes < 200_000


async def test_references_to_a_tiny_field(site):
    """A block of 970 references is refused before it is decoded, and its connection is closed."""
    server = site.server()
    site.agent()
    with site.agent_socket() as attacker:
        attacker.sendall(greeting() + headers(1, REQUEST + TINY))
        async with measured(server) as cost:
            attacker.sendall(headers(3, newest(0) * 970) * 250)
            with contextlib.suppress(OSError):
                while await asyncio.to_thread(attacker.recv, 65_536):
                    pass
    assert cost.cpu_s < 0.3
    assert site.metric("server_limits_reached_total") == 1


async def test_a_crowd_of_calls_that_are_refused(site):
    """Several connections that open as many calls as fit into one read delay no honest client."""
    server = site.server()
    site.agent()
    block = call(b"/nobody/serves", (b"x", b"y" * 100))
    calls = b"".join(headers(1 + 2 * number, block) for number in range(900))
    async with honest(site) as client, measured(server):
        for _ in range(5):
            with contextlib.ExitStack() as stack:
                crowd: list[socket.socket] = [stack.enter_context(site.agent_socket()) for _ in range(5)]
                for attacker in crowd:
                    attacker.sendall(greeting() + calls)
                await asyncio.sleep(0.5)
    client.check(echo_ms=ECHO_MS)
