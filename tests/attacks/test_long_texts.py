"""Tests of packets with texts of 4 MiB and of endless log lines caused by a peer: logs and audit log stay short."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from attack_site import MIB, honest, measured

from konnectivity import wire
from konnectivity.proto.client_pb2 import DialResponse, Packet, PacketType, Reset, Stop
from konnectivity.untrusted.untrusted_text import MAX_BYTES
from support import grpc_peer, targets
from support.targets import listening

LONG = "\x01" * (4 * MIB - 200)
PACKETS = 8
MOST_LOG = 100_000  # bytes


def long_reset(connect_id: int) -> bytes:
    body = Reset(connectID=connect_id, side="RESET_SIDE_TARGET", reason=LONG)
    return Packet(type=PacketType.RESET, reset=body).SerializeToString()


def long_stop(connect_id: int) -> bytes:
    return Packet(type=PacketType.STOP, stop=Stop(connectID=connect_id, reason=LONG)).SerializeToString()


def long_error(random: int) -> bytes:
    body = DialResponse(random=random, error=LONG)
    return Packet(type=PacketType.DIAL_RSP, dialResponse=body).SerializeToString()


@pytest.mark.parametrize("verbosity", [4, 8])
async def test_a_frontend_resets_with_reasons_of_4_mib(site, verbosity):
    server = site.server("--mode=grpc,http-connect", f"--audit-log={site.path('audit')}", f"-v={verbosity}")
    agent = site.agent(f"-v={verbosity}")
    async with (
        listening(targets.echo) as address,
        grpc_peer.frontend(site, metadata=grpc_peer.EXTENDED) as attacker,
        honest(site) as client,
        measured(server) as cost,
        measured(agent) as agent_cost,
    ):
        for number in range(PACKETS):
            await attacker.say(wire.dial_req(address, number))
            connect_id = (await attacker.hear()).dialResponse.connectID
            await attacker.say(long_stop(connect_id) if number % 2 else long_reset(connect_id))
        await asyncio.sleep(1)
    client.check()
    assert cost.cpu_s < 3
    assert agent_cost.cpu_s < 2
    assert cost.memory_growth < 64 * MIB
    assert agent_cost.memory_growth < 8 * MIB, "the agent is not sent the long reason"
    lines = server.log.splitlines() + agent.log.splitlines()
    assert max(map(len, lines)) < 16 * 1024 + 100
    if verbosity < 6:
        assert cost.log_bytes + agent_cost.log_bytes < MOST_LOG + 1_000 * len(client.dials_ms)
    audit = site.directory.joinpath("audit").read_text().splitlines()
    assert max(map(len, audit)) < 7 * MAX_BYTES + 2_000  # JSON escapes a control character to six bytes


async def test_an_agent_answers_dials_with_errors_of_4_mib(site):
    """The error is shortened for gRPC and HTTP clients and in the server's own records of failures."""
    server = site.server("--mode=grpc,http-connect", "--proxy-strategies=destHost")
    site.agent("--agent-identifiers=ipv4=127.0.0.1")
    async with (
        grpc_peer.agent(site, "hostile", "host=victim", metadata=grpc_peer.EXTENDED) as hostile,
        grpc_peer.frontend(site) as victim,
        honest(site) as client,
        measured(server) as cost,
    ):
        for number in range(PACKETS):
            await victim.say(wire.dial_req("victim:80", number))
            while (asked := await hostile.hear()).type != PacketType.DIAL_REQ:
                pass
            await hostile.say(long_error(asked.dialRequest.random))
            answer = await victim.hear()
            assert MAX_BYTES - 3 <= len(answer.dialResponse.error.encode()) <= MAX_BYTES
        head = await asyncio.to_thread(dial_by_http, site.socket, "victim:80", hostile_answer(hostile))
        await asyncio.sleep(1)
    client.check()
    assert len(head) < 4 * MAX_BYTES
    assert cost.cpu_s < 3
    assert cost.memory_growth < 64 * MIB
    assert cost.log_bytes < MOST_LOG + 1_000 * len(client.dials_ms)


async def test_packets_that_are_none_without_end(site):
    server = site.server("--mode=grpc,http-connect")
    site.agent()
    async with AsyncExitStack() as stack:
        attackers = [await stack.enter_async_context(grpc_peer.frontend(site)) for _ in range(2)]
        client = await stack.enter_async_context(honest(site))
        cost = await stack.enter_async_context(measured(server))
        for attacker in attackers:
            for _ in range(3_000):
                await attacker.say(b"\xff\xff" * 20)
        await asyncio.sleep(1)
    client.check(echo_ms=100)
    assert 1 <= server.log.count('"Bad packet"') <= 40
    assert cost.log_bytes < MOST_LOG + 1_000 * len(client.dials_ms)
    assert site.metric("server_log_lines_left_out_total") >= 5_960


async def test_a_long_address_is_refused_and_not_cut_to_another(site):
    """A shortened address could name another destination, so a long address is refused."""
    server = site.server("--mode=grpc,http-connect", "--max-address-length=100000")
    site.agent()
    async with grpc_peer.frontend(site, metadata=grpc_peer.EXTENDED) as attacker:
        for address in ("127.0.0.1:" + "0" * 2_000 + "80", "a" * 5_000 + ":80", "\xe4" * 600 + ":80", LONG):
            packet = Packet(type=PacketType.DIAL_REQ)
            packet.dialRequest.protocol, packet.dialRequest.address = "tcp", address
            await attacker.say(packet.SerializeToString())
            answer = await attacker.hear()
            assert answer.dialResponse.error == "the address is longer than 1024 characters"
    assert site.metric("server_limits_reached_total") == 4
    assert max(map(len, server.log.splitlines())) < 16 * 1024


def hostile_answer(hostile):
    """Return a function for another thread that waits for one dial and answers it with a long error."""
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        while (asked := await hostile.hear()).type != PacketType.DIAL_REQ:
            pass
        await hostile.say(long_error(asked.dialRequest.random))

    return lambda: asyncio.run_coroutine_threadsafe(answer(), loop).result(20)


def dial_by_http(path: str, address: str, answered) -> bytes:
    """Return all bytes that the server answers to a CONNECT which fails."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        connection.sendall(f"CONNECT {address} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answered()
        said = b""
        while more := connection.recv(65_536):
            said += more
        return said
