"""Tests of connections to the agents' port that use up file descriptors: frontends still dial, health ports answer."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket

from attack_site import honest

DESCRIPTORS = 320


async def hold(port: int, number: int) -> list[socket.socket]:
    """Open `number` connections that send nothing, and return them."""
    held = []
    for _ in range(number):
        connection = socket.socket()
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.connect(("127.0.0.1", port))
        held.append(connection)
        await asyncio.sleep(0.001)
    return held


async def test_connections_to_the_agents_port_without_end(token_site):
    """Clients still dial while a stranger holds more connections than the server has descriptors."""
    server = token_site.server()
    token_site.agent()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    async with honest(token_site) as client:
        held = await hold(token_site.agent_port, DESCRIPTORS + 50)
        await asyncio.sleep(3)
        assert token_site.metric("server_limits_reached_total") >= 50
    for each in held:
        each.close()
    assert not client.errors
    assert max(client.dials_ms) < 1000, client.summary()
    assert len(client.dials_ms) > 20, client.summary()
    late = await asyncio.to_thread(token_site.agent)  # honest agents are admitted again
    assert late.returncode is None
