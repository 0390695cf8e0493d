"""Tests of peers that speak the extension and lie about connections of others, credit, totals and dials."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity import wire
from konnectivity.client import DialError, connect
from konnectivity.proto.client_pb2 import PacketType
from support import grpc_peer, targets
from support.grpc_peer import EXTENDED, data
from support.targets import listening

IDS = range(1, 200)
MAX = 2**63 - 1


async def answers(reader, writer, question=b"hello"):
    writer.write(question)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(question)) == question


async def test_a_frontend_speaks_for_its_own_connections_only(deployment):
    async with (
        listening(targets.echo) as address,
        connect(**deployment.frontend("grpc", unix=True)) as tunnel,
        grpc_peer.frontend(deployment, metadata=EXTENDED) as liar,
    ):
        victim = await tunnel.dial(address)
        assert await answers(*victim)
        for number in IDS:  # every id that the victim's connection may have
            await liar.say(data(number, b"forged"))
            await liar.say(wire.reset(number, 1, "forged", 0, 0))
            await liar.say(wire.data_end(number, 0))
            await liar.say(wire.stop(number, "forged"))
            await liar.say(wire.credit(number, MAX))
            await liar.say(wire.close_req(number))
            await liar.say(wire.close_dial(number))
            await liar.say(wire.dial_rsp(number, number))
        heard = [await liar.hear() for _ in range(2 * len(IDS))]
        refused = [packet.reset.connectID for packet in heard if packet.type == PacketType.RESET]
        unknown = [packet.closeResponse.connectID for packet in heard if packet.type == PacketType.CLOSE_RSP]
        assert refused == unknown == list(IDS)
        await liar.silence()
        assert await answers(*victim, b"unharmed")
        victim[1].close()


async def test_more_than_was_granted_ends_that_connection_and_no_other(deployment):
    async with listening(targets.sleeper) as deaf, listening(targets.echo) as address:
        async with grpc_peer.frontend(deployment, metadata=EXTENDED) as liar:
            await liar.say(wire.dial_req(deaf, 1))
            first = (await liar.hear()).dialResponse.connectID
            await liar.say(wire.dial_req(address, 2))
            second = (await liar.hear()).dialResponse.connectID
            for _ in range(4000):  # 256 MiB into a window that is never replenished
                await liar.say(data(first, bytes(64 * 1024)))
                if await heard_reset(liar, first):
                    break
            else:
                pytest.fail("the connection was not reset")
            await liar.say(data(second, b"fine"))
            while (packet := await liar.hear()).type != PacketType.DATA:
                assert getattr(packet.reset, "connectID", first) in (0, first)
            assert (packet.data.connectID, packet.data.data) == (second, b"fine")


async def heard_reset(call, connect_id):
    """Return whether the next packet that has arrived resets the connection."""
    if not await call.said_something():
        return False
    packet = await call.hear()
    return packet.type == PacketType.RESET and packet.reset.connectID == connect_id


@pytest.fixture
def alone(fresh):
    """Start a server without agents and return its deployment."""
    fresh.start_server()
    return fresh


async def test_an_agent_that_lies_about_dials_and_ids(alone):
    async with (
        grpc_peer.agent(alone, metadata=EXTENDED) as agent,
        connect(**alone.frontend("http-connect", unix=True)) as tunnel,
    ):
        await agent.say(wire.dial_rsp(123456, 50))  # answers an unknown dial
        packet = await agent.hear()
        assert (packet.type, packet.reset.connectID) == (PacketType.RESET, 50)
        dialled = asyncio.create_task(tunnel.dial("node:1"))
        random = (await agent.hear()).dialRequest.random
        await agent.say(wire.dial_rsp(random, 1))
        reader, writer = await dialled
        await agent.say(wire.dial_rsp(random, 2))  # a second answer to the same dial
        packet = await agent.hear()
        assert (packet.type, packet.reset.connectID) == (PacketType.RESET, 2)
        second = asyncio.create_task(tunnel.dial("node:2"))
        random = (await agent.hear()).dialRequest.random
        await agent.say(wire.dial_rsp(random, 1))  # reuses the first connection's id
        with pytest.raises(DialError):
            await second
        await agent.say(data(99, b"for a connection that never was"))
        packet = await agent.hear()
        assert (packet.type, packet.reset.connectID) == (PacketType.RESET, 99)
        for lie in (wire.credit(98, MAX), wire.data_end(97, 5), wire.reset(96, 2, "x", 0, 0), wire.stop(95, "x")):
            await agent.say(lie)  # the server cannot tell a lie from a late packet
        await agent.say(wire.server_count(1000))  # only servers send this packet
        await agent.say(wire.ready(True))
        await agent.silence()
        await agent.say(data(1, b"unharmed"))
        assert await reader.readexactly(8) == b"unharmed"
        writer.close()


async def test_an_agent_speaks_for_its_own_connections_only(alone):
    """An agent that shares another agent's name and knows its connection ids cannot affect its connections."""
    async with (
        grpc_peer.agent(alone, "node", metadata=EXTENDED) as agent,
        connect(**alone.frontend("http-connect", unix=True)) as tunnel,
    ):
        dialled = asyncio.create_task(tunnel.dial("node:1"))
        random = (await agent.hear()).dialRequest.random
        await agent.say(wire.dial_rsp(random, 1))
        reader, writer = await dialled
        async with grpc_peer.agent(alone, "node", metadata=EXTENDED) as liar:
            for lie in (
                data(1, b"forged"),
                wire.reset(1, 1, "forged", 0, 0),
                wire.data_end(1, 0),
                wire.stop(1, "forged"),
            ):
                await liar.say(lie)
            await liar.say(wire.close_rsp(1))
            await liar.say(wire.dial_rsp(random, 1))  # the liar has learned the dial's random number
            heard = [await liar.hear() for _ in range(2)]
            assert [packet.reset.connectID for packet in heard] == [1, 1]
            await liar.silence()
        await agent.say(data(1, b"unharmed"))
        assert await reader.readexactly(8) == b"unharmed"
        writer.close()


@pytest.mark.parametrize(
    "lie", [wire.data_end(1, 1000), wire.credit(1, -1), wire.data_end(1, -1)], ids=["total", "credit", "negative total"]
)
async def test_an_agents_lie_about_a_connection_ends_that_one(alone, lie):
    async with (
        grpc_peer.agent(alone, metadata=EXTENDED) as agent,
        connect(**alone.frontend("grpc", unix=True)) as tunnel,
    ):
        clients = []
        for number in (1, 2):
            dialled = asyncio.create_task(tunnel.dial(f"node:{number}"))
            await agent.say(wire.dial_rsp((await agent.hear()).dialRequest.random, number))
            clients.append(await dialled)
        await agent.say(lie)
        packet = await agent.hear()
        assert (packet.type, packet.reset.connectID) == (PacketType.RESET, 1)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(clients[0][0].readexactly(1), 5)
        await agent.say(data(2, b"unharmed"))
        assert await clients[1][0].readexactly(8) == b"unharmed"
        for _, writer in clients:
            writer.close()
