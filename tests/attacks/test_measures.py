"""Tests of the measures behind the attack tests: they detect harm that exists, and none where there is none."""

from __future__ import annotations

import asyncio
import signal

import pytest
from attack_site import honest, measured, memory_returns


async def test_without_an_attack_nobody_suffers(site):
    server = site.server()
    site.agent()
    async with honest(site) as client, measured(server) as cost:
        await asyncio.sleep(1.5)
    client.check()
    assert cost.cpu_s < 1.5
    await memory_returns(server, cost.memory_before)
    assert site.metric("server_ready_backend_connections") == 1


async def test_a_server_that_stands_still_is_noticed(site):
    server = site.server()
    site.agent()
    async with honest(site) as client:
        server.send(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        server.send(signal.SIGCONT)
        await asyncio.sleep(0.5)
    with pytest.raises(AssertionError, match="echo n="):
        client.check()


async def test_agents_by_token(token_site):
    token_site.server()
    token_site.agent()
    async with honest(token_site) as client:
        await asyncio.sleep(0.5)
    client.check()
    with token_site.agent_socket(certificate=False) as connection:
        assert connection.selected_alpn_protocol() == "h2"
