"""Tests of calls whose header fields are short references to long texts: the server keeps few bytes of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from attack_site import MIB, honest, measured
from raw_http2 import CONNECT, EMOJI, PROXY, call, greeting, headers, literal, newest

CONNECTIONS = 50
LONG = EMOJI + b"a" * 3500  # a text that occupies 14 KiB of memory


async def strangers(site) -> None:
    """Open the maximum number of calls for strangers, with tokens that wait for their review, and hang up."""
    first = call(CONNECT, (b"agentid", b"evil"), (b"z", LONG), indexed=True)
    again = b"".join(newest(position) for position in (7, 6, 5, 4, 3, 2, 1)) + newest(0) * 8
    with contextlib.ExitStack() as open_connections:
        for number in range(CONNECTIONS):
            attacker = open_connections.enter_context(site.agent_socket(certificate=False))
            token = literal(b"authorization", b"Bearer garbage%d" % number)
            calls = b"".join(headers(3 + 2 * i, again + token) for i in range(98))
            attacker.sendall(greeting() + headers(1, first) + calls)
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)


async def test_calls_that_wait_for_admission(token_site):
    server = token_site.server()
    token_site.agent()
    async with honest(token_site) as client, measured(server) as both:
        await strangers(token_site)
        async with measured(server) as second:
            await strangers(token_site)
    client.check()
    assert both.memory_growth < 50 * MIB, f"{both.memory_growth / MIB:.0f} MiB"
    assert second.memory_growth < 20 * MIB, f"{second.memory_growth / MIB:.0f} MiB more the second time"


async def frontend_calls(site, block: bytes, count: int) -> None:
    """Open calls on one connection of the unix socket, and keep them open for a second."""
    with socket.socket(socket.AF_UNIX) as attacker:
        attacker.connect(site.socket)
        attacker.sendall(greeting())
        attacker.setblocking(False)
        loop = asyncio.get_running_loop()
        reader = loop.create_task(drain(attacker))
        for start in range(0, count, 50):
            calls = (headers(1 + 2 * number, block) for number in range(start, start + 50))
            await loop.sock_sendall(attacker, b"".join(calls))
            await asyncio.sleep(0.06)
        await asyncio.sleep(1)
        reader.cancel()


async def drain(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(connection, 65_536):
            pass


async def test_a_frontend_with_long_fields_that_nobody_reads(site):
    server = site.server("--mode=grpc,http-connect")
    site.agent()
    first = call(PROXY, (b"z", LONG), indexed=True)
    again = b"".join(newest(position) for position in (6, 5, 4, 3, 2, 1)) + newest(0) * 8
    async with honest(site) as client, measured(server) as cost:
        with socket.socket(socket.AF_UNIX) as attacker:
            attacker.connect(site.socket)
            attacker.sendall(greeting() + headers(1, first))
            for start in range(3, 4003, 100):
                attacker.sendall(b"".join(headers(number, again) for number in range(start, start + 100, 2)))
                await asyncio.sleep(0.06)
            await asyncio.sleep(1)
            assert site.metric("server_grpc_connections") >= 0
    client.check()
    assert cost.memory_growth < 40 * MIB, f"{cost.memory_growth / MIB:.0f} MiB for 2,000 calls"


async def test_a_frontend_with_long_fields_that_are_kept(site):
    """Calls beyond the limit are refused; the connection and its other calls continue."""
    server = site.server("--mode=grpc,http-connect")
    site.agent()
    block = call(PROXY, (b"konnectivity-extension", LONG))
    async with honest(site) as client, measured(server) as cost:
        await frontend_calls(site, block, 300)
    client.check()
    assert cost.memory_growth < 20 * MIB, f"{cost.memory_growth / MIB:.0f} MiB for 300 calls"
    assert site.metric("server_limits_reached_total") >= 250
