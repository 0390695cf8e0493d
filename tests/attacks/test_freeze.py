"""Tests of refused calls whose header fields refer to long texts: refusing them costs little CPU time."""

from __future__ import annotations

import asyncio

from attack_site import MIB, honest, measured
from raw_http2 import CONNECT, EMOJI, call, greeting, headers, literal, newest

CALLS = 100


def calls_with(fields: bytes, first: bytes, calls: int = CALLS) -> list[bytes]:
    """Return a call that fills the dynamic table, and calls that refer to it."""
    return [headers(1, first), b"".join(headers(3 + 2 * number, fields) for number in range(calls))]


async def send(site, pieces: list[bytes], certificate: bool) -> bytes:
    """Send the pieces to the agents' port, half a second apart; return what the server answers within 2 seconds."""
    with site.agent_socket(certificate) as attacker:
        attacker.sendall(greeting())
        for piece in pieces:
            await asyncio.sleep(0.5)
            attacker.sendall(piece)
        await asyncio.sleep(2)
        attacker.setblocking(False)
        answers = b""
        try:
            while more := attacker.recv(65_536):
                answers += more
        except OSError:
            return answers
        return answers


async def test_agents_with_many_long_ids(token_site):
    server = token_site.server()
    token_site.agent()
    fields = call(CONNECT, indexed=True)
    first = fields + literal(b"agentid", EMOJI * 870, indexed=True)
    again = b"".join(newest(position) for position in (6, 5, 4, 3, 2, 1)) + newest(0) * 8
    async with honest(token_site) as client, measured(server) as cost:
        answers = await send(token_site, calls_with(again, first), certificate=False)
    client.check()
    assert cost.cpu_s < 3.0
    assert cost.memory_growth < 20 * MIB
    assert cost.log_bytes < 100_000
    assert len(answers) < 4000 * (CALLS + 2)


async def test_paths_that_are_not_served(site):
    server = site.server()
    site.agent()
    path = b"/" + EMOJI * 900
    fields = call(path, indexed=True)
    again = b"".join(newest(position) for position in (5, 4, 3, 2, 1, 0))
    async with honest(site) as client, measured(server) as cost:
        await send(site, calls_with(again, fields), certificate=True)
    client.check()
    assert cost.cpu_s < 3.0
    assert cost.log_bytes < 100_000


async def test_timeouts_that_are_none(site):
    server = site.server()
    site.agent()
    fields = call(CONNECT, (b"grpc-timeout", EMOJI * 800), indexed=True)
    again = b"".join(newest(position) for position in (6, 5, 4, 3, 2, 1, 0))
    async with honest(site) as client, measured(server) as cost:
        await send(site, calls_with(again, fields), certificate=True)
    client.check()
    assert cost.cpu_s < 3.0
