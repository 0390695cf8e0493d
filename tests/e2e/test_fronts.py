"""Tests of agents behind a TLS-terminating front that picks one of the ALPN protocols offered by the agent."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening


@asynccontextmanager
async def front(deployment, picks):
    """Run a front that accepts only these ALPN protocols and forwards plain bytes to the server; yield its port."""
    towards_agents = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    towards_agents.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    towards_agents.set_alpn_protocols(picks)
    to_server = ssl.create_default_context(cafile=deployment.path("ca.crt"))
    to_server.load_cert_chain(deployment.path("client.crt"), deployment.path("client.key"))
    to_server.set_alpn_protocols(["h2"])

    async def carry(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        far = await asyncio.open_connection("127.0.0.1", deployment.agent_port, ssl=to_server)
        await asyncio.gather(carry(reader, far[1]), carry(far[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port := free_port(), ssl=towards_agents)
    yield port
    server.close()


@pytest.mark.parametrize("picks", [["konnectivity"], ["h2"], ["other", "konnectivity"]], ids=" ".join)
async def test_an_agent_takes_any_protocol_that_it_offered(fresh, picks):
    await asyncio.to_thread(fresh.start_server)
    async with front(fresh, picks) as port, listening(targets.echo) as address:
        agent = await asyncio.to_thread(fresh.start_agent, "--alpn-proto=konnectivity", port=port)
        async with connect(**fresh.frontend("http-connect", True)) as tunnel:
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
        await asyncio.to_thread(agent.stop)


@pytest.mark.parametrize("picks", [["http/1.1"], []], ids=["another", "none"])
async def test_an_agent_leaves_a_front_that_takes_none(fresh, picks):
    await asyncio.to_thread(fresh.start_server)
    async with front(fresh, picks) as port:
        agent = await asyncio.to_thread(fresh.start_agent, "--alpn-proto=konnectivity", port=port, connects=False)
        await asyncio.to_thread(agent.wait_for, "no ALPN h2")
        await asyncio.to_thread(agent.stop)
