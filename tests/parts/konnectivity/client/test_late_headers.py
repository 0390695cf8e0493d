"""Tests of clients with a server that sends its response headers with its first message, as servers on grpc-go do.

The server is made with grpcio, which sends its headers as late as grpc-go.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from konnectivity import wire
from konnectivity.client import DialError, connect
from konnectivity.proto.client_pb2 import Packet
from konnectivity.tool.doctor import service_probe
from konnectivity.wire import packet_types
from support.small_pki import Pki

WAIT_S = 10


async def proxy(packets, context):
    """Serve one frontend stream: answer the dial, then send each payload back, until the stream or connection ends."""
    async for message in packets:
        packet = Packet.FromString(message)
        if packet.type == packet_types.DIAL_REQ:
            error = "no such target" if packet.dialRequest.address == "wrong:1" else ""
            yield wire.dial_rsp(packet.dialRequest.random, 7, error)
        elif packet.type == packet_types.DATA:
            yield wire.data_head(7, len(packet.data.data)) + packet.data.data
        elif packet.type == packet_types.CLOSE_REQ:
            yield wire.close_rsp(7)


@asynccontextmanager
async def serving(address, credentials=None, service="ProxyService"):
    """Serve frontend streams on an address for the length of the block; yield the port."""
    server = grpc.aio.server()
    handlers = {"Proxy": grpc.stream_stream_rpc_method_handler(proxy)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def test_a_client_dials_before_it_has_the_headers(tmp_path):
    """Data passes both ways with the reference protocol, since the server does not offer the extension."""
    async with serving(f"unix:{tmp_path}/s"), asyncio.timeout(WAIT_S), connect(f"unix:{tmp_path}/s", "grpc") as tunnel:
        reader, writer = await tunnel.dial("right:1")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_the_error_of_a_dial_arrives_with_the_headers(tmp_path):
    async with serving(f"unix:{tmp_path}/s"), asyncio.timeout(WAIT_S), connect(f"unix:{tmp_path}/s", "grpc") as tunnel:
        with pytest.raises(DialError, match="no such target"):
            await tunnel.dial("wrong:1")


@pytest.mark.parametrize("service", ["ProxyService", "AgentService"])
async def test_the_doctor_tells_a_frontend_from_the_port_for_agents(tmp_path, service):
    pki = Pki(tmp_path)
    pair = tuple(Path(file).read_bytes() for file in reversed(pki.server_files))

    async def dial():
        return await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))

    async with serving("127.0.0.1:0", grpc.ssl_server_credentials([pair]), service) as port:
        context = ssl.create_default_context(cafile=pki.ca)
        context.set_alpn_protocols(["h2"])
        answer = await service_probe.knock(dial, context, "127.0.0.1", WAIT_S)
    assert (answer.frontend, answer.agents) == (service == "ProxyService", service == "AgentService"), answer
