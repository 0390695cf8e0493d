"""Tests of dials on a connection that its server ends at the same moment, by a GOAWAY: it takes no more calls."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from konnectivity import wire
from konnectivity.client import DialError, DialFailure, connect
from konnectivity.http2 import ErrorCode, frames
from konnectivity.proto.client_pb2 import Packet
from konnectivity.wire import packet_types

WAIT_S = 10
SETTINGS = frames.frame(frames.SETTINGS, 0, 0, b"")


def goaway(last_stream, code=ErrorCode.NO_ERROR):
    return frames.frame(frames.GOAWAY, 0, 0, struct.pack(">LL", last_stream, code) + b"no call for too long")


def reset(code):
    return frames.frame(frames.RST_STREAM, 0, 1, struct.pack(">L", code))


async def answer(packets, context):
    """Serve one frontend stream: accept its dial."""
    async for message in packets:
        packet = Packet.FromString(message)
        if packet.type == packet_types.DIAL_REQ:
            yield wire.dial_rsp(packet.dialRequest.random, 7, "")


class Front:
    """Server that answers the first calls with the given frames, each on its own connection, and relays the rest."""

    def __init__(self, behind, answers):
        self.behind = behind
        self.answers = list(answers)
        self.connections = 0
        self.ended = 0
        self.writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            if self.answers:
                frames_of_answer = self.answers.pop(0)
                await reader.readuntil(b"/ProxyService/Proxy")
                writer.write(SETTINGS + frames_of_answer)
                await reader.read()
            else:
                there_reader, there = await asyncio.open_unix_connection(self.behind)
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(copy(reader, there))
                        tasks.create_task(copy(there_reader, writer))
                finally:
                    there.close()
        writer.close()
        self.ended += 1


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving(tmp_path, *answers):
    """Yield the front and a client's tunnel to it."""
    server = grpc.aio.server()
    handlers = {"Proxy": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ProxyService", handlers),))
    server.add_insecure_port(f"unix:{tmp_path}/behind")
    await server.start()
    front = Front(f"{tmp_path}/behind", answers)
    listener = await asyncio.start_unix_server(front.serve, f"{tmp_path}/s")
    try:
        async with asyncio.timeout(WAIT_S), connect(f"unix:{tmp_path}/s", "grpc") as tunnel:
            yield front, tunnel
    finally:
        listener.close()
        await listener.wait_closed()
        await server.stop(0)


async def test_a_dial_that_the_server_has_not_begun_is_made_on_a_new_connection(tmp_path):
    async with serving(tmp_path, goaway(0)) as (front, tunnel):
        _, writer = await tunnel.dial("right:1")
        writer.close()
        assert front.connections == 2
        while not front.ended:  # the first connection takes no call any more, so the client closes it
            await asyncio.sleep(0.01)


async def test_a_tunnel_closes_the_connections_that_it_has_left(tmp_path):
    """A connection with a call in progress takes no more calls: the next dial makes a new one."""
    async with serving(tmp_path) as (front, tunnel):
        _, first = await tunnel.dial("right:1")
        front.writers[0].write(goaway(1))
        while tunnel._transport.goaway is None:
            await asyncio.sleep(0.01)
        _, second = await tunnel.dial("right:1")
        assert front.connections == 2
        await tunnel.close()
        assert first.transport.is_closing()
        assert second.transport.is_closing()
        while front.ended < 2:
            await asyncio.sleep(0.01)


async def test_a_dial_is_made_at_most_twice(tmp_path):
    async with serving(tmp_path, goaway(0), goaway(0)) as (front, tunnel):
        with pytest.raises(DialError, match="no call for too long") as caught:
            await tunnel.dial("right:1")
        assert caught.value.failure is DialFailure.TUNNEL_LOST
        assert front.connections == 2


@pytest.mark.parametrize(
    "frames_of_answer",
    [
        pytest.param(goaway(1) + reset(ErrorCode.CANCEL), id="a call that the server had begun"),
        pytest.param(reset(ErrorCode.REFUSED_STREAM), id="a refusal of a server that stays"),
        pytest.param(reset(ErrorCode.INTERNAL_ERROR), id="a fault of the server"),
    ],
)
async def test_a_dial_that_may_have_begun_is_not_repeated(tmp_path, frames_of_answer):
    async with serving(tmp_path, frames_of_answer) as (front, tunnel):
        with pytest.raises(DialError):
            await tunnel.dial("right:1")
        assert front.connections == 1
