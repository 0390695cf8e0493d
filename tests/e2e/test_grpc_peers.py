"""Tests with grpcio peers, also misbehaving ones: frontends and an agent on our server, and a server for our agent.

These peers speak the reference protocol without our extension.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import grpc
import pytest

from konnectivity import wire
from konnectivity.client import DialError, DialFailure, connect
from konnectivity.proto.client_pb2 import PacketType
from support import targets
from support.grpc_peer import CONNECT, Call, credentials, data, frontend
from support.grpc_peer import agent as grpcio_agent
from support.targets import listening


def read(deployment, name):
    with open(deployment.path(name), "rb") as file:
        return file.read()


@pytest.mark.parametrize("unix", [True, False], ids=["unix", "mtls"])
async def test_a_grpcio_frontend(deployment, unix):
    async with listening(targets.echo) as address, frontend(deployment, unix) as call:
        await call.say(wire.dial_req(address, 77))
        answer = (await call.hear()).dialResponse
        assert (answer.random, answer.error) == (77, "")
        assert answer.connectID > 0
        await call.say(data(answer.connectID, b"hello"))
        said = await call.hear()
        assert (said.type, said.data.connectID, said.data.data) == (PacketType.DATA, answer.connectID, b"hello")
        await call.say(wire.close_req(answer.connectID))
        closed = (await call.hear()).closeResponse
        assert (closed.connectID, closed.error) == (answer.connectID, "")


async def test_the_target_closes(deployment):
    async with listening(targets.source(100_000)) as address, frontend(deployment) as call:
        await call.say(wire.dial_req(address, 5))
        connect_id = (await call.hear()).dialResponse.connectID
        received = b""
        while (packet := await call.hear()).type == PacketType.DATA:
            assert packet.data.data
            received += packet.data.data
        assert packet.closeResponse.connectID == connect_id
        assert received == b"".join(targets.pattern(100_000))


async def test_dial_errors(deployment, tmp_path):
    async with frontend(deployment) as call:
        await call.say(wire.dial_req("127.0.0.1:9", 1))
        assert (await call.hear()).dialResponse.error == "dial tcp 127.0.0.1:9: connect: connection refused"
    for protocol, error in (("bogus", "unknown network bogus"), ("unix", "unknown network unix")):
        async with frontend(deployment) as call:
            await call.say(wire.dial_req("/run/x.sock", 2, protocol))
            assert (await call.hear()).dialResponse.error == f"dial {protocol}: {error}"


async def test_packets_that_make_no_sense_get_an_answer_and_harm_nobody(deployment):
    async with frontend(deployment) as call:
        await call.say(data(9, b"before any dial"))
        answer = (await call.hear()).closeResponse
        assert (answer.connectID, answer.error) == (9, "backend not initialized")
        await call.say(wire.close_req(8))
        answer = (await call.hear()).closeResponse
        assert (answer.connectID, answer.error) == (8, "backend uninitialized")
        await call.say(b"\x08\x04")  # a DATA packet without its payload
        await call.say(b"\xff\xff\xff\xff\xff")  # no protobuf at all
        await call.say(b"")  # DIAL_REQ without its payload
        await call.say(b"\x08\x63")  # an unknown packet type
        await call.say(wire.credit(1, 100))  # a packet of the extension, which was not negotiated
        await call.say(wire.close_dial(4711))
        await call.silence()
        async with listening(targets.echo) as address:
            await call.say(wire.dial_req(address, 1))
            connect_id = (await call.hear()).dialResponse.connectID
            await call.say(data(connect_id + 1, b"somebody else's connection"))
            answer = (await call.hear()).closeResponse
            assert (answer.connectID, answer.error) == (connect_id + 1, "mismatched connection IDs")
            await call.say(wire.dial_req(address, 2))
            answer = (await call.hear()).dialResponse
            assert (answer.random, answer.connectID) == (2, 0)
            assert "already carries a connection" in answer.error
            await call.say(data(connect_id, b"still fine"))
            assert (await call.hear()).data.data == b"still fine"


async def test_a_frontend_that_vanishes_closes_its_connection(deployment):
    gone = asyncio.Event()

    async def watch(reader, writer):
        try:
            await reader.read()
        finally:
            gone.set()

    async with listening(watch) as address:
        async with frontend(deployment) as call:
            await call.say(wire.dial_req(address, 1))
            assert (await call.hear()).dialResponse.connectID
        async with asyncio.timeout(5):
            await gone.wait()


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ((), "expected one agent ID in the context, got 0"),
        ((("agentid", "a"), ("agentid", "b")), "expected one agent ID in the context, got 2"),
        ((("agentid", "a"), ("agentidentifiers", "x"), ("agentidentifiers", "y")), "expected at most one set of agent"),
        ((("agentid", "a"), ("agentidentifiers", "ipv4=1;2")), "invalid semicolon separator in query"),
    ],
)
async def test_an_agent_that_does_not_say_who_it_is(deployment, metadata, text):
    async with grpc.aio.secure_channel(f"localhost:{deployment.agent_port}", credentials(deployment)) as channel:
        call = channel.stream_stream(CONNECT)(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
            await call
        assert caught.value.code() == grpc.StatusCode.UNKNOWN
        assert text in caught.value.details()


async def test_an_unknown_method(deployment):
    async with grpc.aio.secure_channel(f"localhost:{deployment.agent_port}", credentials(deployment)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/No/Such")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_http1_on_the_agent_port(deployment):
    tls = ssl.create_default_context(cafile=deployment.path("ca.crt"))
    tls.load_cert_chain(deployment.path("client.crt"), deployment.path("client.key"))
    with socket.create_connection(("127.0.0.1", deployment.agent_port), 5) as sock:
        with tls.wrap_socket(sock, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while piece := wrapped.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"gRPC" in answer


def test_cleartext_on_the_agent_port_is_closed(deployment):
    with socket.create_connection(("127.0.0.1", deployment.agent_port), 5) as sock:
        sock.settimeout(5)
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100))
        with contextlib.suppress(ConnectionError):
            while sock.recv(4096):
                pass


# ---- an agent made of grpcio, on the reference protocol -----------------------------------------------------------


@pytest.fixture
def alone(fresh):
    """Start a server without agents and return its deployment."""
    fresh.start_server()
    return fresh


async def test_a_grpcio_agent_serves_a_dial(alone):
    async with grpcio_agent(alone) as agent, connect(**alone.frontend("http-connect", unix=True)) as tunnel:
        async with asyncio.TaskGroup() as tasks:
            dialled = tasks.create_task(tunnel.dial("10.1.2.3:10250"))
            request = (await agent.hear()).dialRequest
            assert (request.protocol, request.address) == ("tcp", "10.1.2.3:10250")
            await agent.say(wire.dial_rsp(request.random, 1))
        reader, writer = dialled.result()
        writer.write(b"to the node")
        packet = await agent.hear()
        assert (packet.data.connectID, packet.data.data) == (1, b"to the node")
        await agent.say(data(1, b"from the node"))
        await agent.say(wire.close_rsp(1))
        assert await reader.read() == b"from the node"
        writer.close()


async def test_established_wire_a_client_that_closes_at_once_still_delivers_all_of_its_upload(alone):
    async with grpcio_agent(alone) as agent, connect(**alone.frontend("http-connect", unix=True)) as tunnel:
        async with asyncio.TaskGroup() as tasks:
            dialled = tasks.create_task(tunnel.dial("node:1"))
            await agent.say(wire.dial_rsp((await agent.hear()).dialRequest.random, 1))
        _, writer = dialled.result()
        writer.write(bytes(3_000_000))
        writer.close()
        received = 0
        while (packet := await agent.hear()).type == PacketType.DATA:
            assert len(packet.data.data) <= 32 * 1024, "what the established agent's own kind sends"
            received += len(packet.data.data)
        assert received == 3_000_000
        assert packet.closeRequest.connectID == 1


async def test_a_late_or_forged_answer_touches_nobody(alone):
    async with grpcio_agent(alone) as agent, connect(**alone.frontend("http-connect", unix=True)) as tunnel:
        await agent.say(wire.dial_rsp(123456, 50))  # answers an unknown dial
        assert (await agent.hear()).closeRequest.connectID == 50
        async with asyncio.TaskGroup() as tasks:
            dialled = tasks.create_task(tunnel.dial("node:1"))
            random = (await agent.hear()).dialRequest.random
            await agent.say(wire.dial_rsp(random, 1))
        reader, writer = dialled.result()
        await agent.say(wire.dial_rsp(random, 2))  # a second answer to the same dial
        assert (await agent.hear()).closeRequest.connectID == 2
        await agent.say(data(99, b"for a connection that never was"))
        assert (await agent.hear()).closeRequest.connectID == 99
        await agent.say(wire.close_rsp(98))
        second = asyncio.create_task(tunnel.dial("node:2"))
        random = (await agent.hear()).dialRequest.random
        await agent.say(wire.dial_rsp(random, 1))  # reuses the first connection's id
        with pytest.raises(DialError):
            await second
        await agent.say(data(1, b"unharmed"))
        assert await reader.readexactly(8) == b"unharmed"
        writer.close()


async def test_two_agents_with_one_id_never_mix_their_connections(alone):
    """Two agents of one id both number their first connection 1; the reference mixed up the bytes of their clients."""
    async with (
        grpcio_agent(alone, "twin", "host=a") as one,
        grpcio_agent(alone, "twin", "host=b") as two,
        connect(**alone.frontend("http-connect", unix=True)) as tunnel,
    ):
        await asyncio.sleep(1.1)  # until the second one counts as settled
        used = set()
        async with asyncio.TaskGroup() as tasks:
            requests = [tasks.create_task(answer_dials(*each)) for each in ((one, b"one"), (two, b"two"))]
            clients = await asyncio.gather(*(tunnel.dial(f"node:{number}") for number in range(40)))
            seen = set()
            for reader, writer in clients:
                line = await reader.readline()
                used.add(line.split()[0])
                seen.add(line)
                writer.close()
            for task in requests:
                task.cancel()
        assert used == {b"one", b"two"}
        assert len(seen) == 40


async def answer_dials(agent, name):
    """Accept every dial and send each connection its own number."""
    connect_id = 0
    while True:
        packet = await agent.hear(60)
        if packet.type == PacketType.DIAL_REQ:
            connect_id += 1
            await agent.say(wire.dial_rsp(packet.dialRequest.random, connect_id))
            await agent.say(data(connect_id, b"%s %d\n" % (name, connect_id)))


async def test_an_agent_that_dies_during_a_dial_fails_it_at_once(alone):
    async with connect(**alone.frontend("http-connect", unix=True)) as tunnel:
        async with grpcio_agent(alone) as agent:
            dialled = asyncio.create_task(tunnel.dial("node:1"))
            await agent.hear()
            agent.call.cancel()
        with pytest.raises(DialError) as caught:
            await dialled
        assert caught.value.failure is DialFailure.TUNNEL_LOST
        assert str(caught.value) == "Backend context error: context canceled"


async def test_a_dial_that_gets_no_answer_is_bounded(fresh):
    fresh.start_server("--backend-dial-timeout=300ms")
    async with grpcio_agent(fresh) as agent, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        with pytest.raises(DialError) as caught:
            await tunnel.dial("node:1")
        assert caught.value.failure is DialFailure.TIMEOUT
        assert str(caught.value) == "Backend dial timeout: timed out waiting for backend dial"
        request = (await agent.hear()).dialRequest
        assert (await agent.hear()).closeDial.random == request.random


# ---- a server made of grpcio, for our agent ----------------------------------------------------------------------


class Handler(grpc.GenericRpcHandler):
    def __init__(self):
        self.agents = asyncio.Queue()
        self.done = asyncio.Event()

    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(self._connect) if details.method == CONNECT else None

    async def _connect(self, _, context):
        await context.send_initial_metadata((("serverid", "grpcio-server"), ("servercount", "1")))
        await self.agents.put(context)
        await self.done.wait()


@contextlib.asynccontextmanager
async def grpcio_server(deployment):
    handler = Handler()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    pair = (read(deployment, "server.key"), read(deployment, "server.crt"))
    secure = grpc.ssl_server_credentials([pair], read(deployment, "ca.crt"), require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{deployment.agent_port}", secure)
    await server.start()
    try:
        yield handler
    finally:
        handler.done.set()
        await server.stop(0)


async def test_our_agent_serves_a_grpcio_server(fresh):
    async with grpcio_server(fresh) as handler, listening(targets.echo) as address:
        await asyncio.to_thread(fresh.start_agent, "--agent-id=ours", "--agent-identifiers=host=n1")
        context = await handler.agents.get()
        metadata = dict(context.invocation_metadata())
        assert metadata["agentid"] == "ours"
        assert metadata["agentidentifiers"] == "host=n1"
        server = Call(context)
        await server.say(wire.dial_req(address, 42))
        answer = (await server.hear()).dialResponse
        assert (answer.random, answer.connectID) == (42, 1)
        await server.say(data(1, b"ping"))
        assert (await server.hear()).data.data == b"ping"
        await server.say(data(7, b"nobody"))
        closed = (await server.hear()).closeResponse
        assert (closed.connectID, closed.error) == (7, "unrecognized connectID")
        await server.say(wire.close_req(6))
        closed = (await server.hear()).closeResponse
        assert (closed.connectID, closed.error) == (6, "Unknown connectID")
        await server.say(wire.close_req(1))
        closed = (await server.hear()).closeResponse
        assert (closed.connectID, closed.error) == (1, "")
        await server.say(wire.dial_req("127.0.0.1:9", 43))
        answer = (await server.hear()).dialResponse
        assert (answer.random, answer.connectID) == (43, 0)
        assert answer.error == "dial tcp 127.0.0.1:9: connect: connection refused"


async def test_established_wire_close_req_flushes_the_upload_first(fresh):
    """Our agent writes the buffered upload before it handles CLOSE_REQ; the agent of the reference drops it."""
    received = asyncio.get_running_loop().create_future()

    async def slow(reader, writer):
        await asyncio.sleep(0.3)
        received.set_result(len(await reader.read()))

    async with grpcio_server(fresh) as handler, listening(slow) as address:
        await asyncio.to_thread(fresh.start_agent)
        server = Call(await handler.agents.get())
        await server.say(wire.dial_req(address, 1))
        assert (await server.hear()).dialResponse.connectID == 1
        for _ in range(100):
            await server.say(data(1, bytes(32 * 1024)))
        await server.say(wire.close_req(1))
        assert (await server.hear()).closeResponse.connectID == 1
        async with asyncio.timeout(10):
            assert await received == 100 * 32 * 1024
