"""Tests of ends: of programs that are told to end, and of a target that ends first over TLS.

Nobody reads a clean end in front of missing bytes.
"""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest

from konnectivity.client import connect
from support import connect_socket, targets
from support.metrics_page import metrics
from support.targets import listening

PIECE = 16 * 1024  # much less than the first window of a connection
UNIX_BUFFER = 212_992  # bytes that a unix socket keeps for a client that does not read


class Reader:
    """Target that reads when the test says so; `outcome` is the number of bytes and how they ended."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.outcome: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def serve(self, reader, writer):
        writer.transport.pause_reading()
        await self.may_read.wait()
        writer.transport.resume_reading()
        received = 0
        try:
            while data := await reader.read(1 << 20):
                received += len(data)
            self.outcome.set_result((received, "end"))
        except ConnectionResetError:
            self.outcome.set_result((received, "error"))


async def left_unread(tunnel, address, agent):
    """Send until the agent has bytes that the target does not take, then leave; return the number of bytes sent."""

    def stalled():
        return metrics(agent.health_port)["agent_stalled_connections"]

    _, writer = await tunnel.dial(address)
    sent = 0
    while not stalled():
        writer.write(bytes(PIECE))
        sent += PIECE
        await asyncio.sleep(0.02)
    writer.close()
    while stalled():  # the connection is not over yet
        await asyncio.sleep(0.02)
    return sent


async def test_an_agent_that_ends_waits_for_a_slow_target_and_resets_the_others(fresh):
    fresh.start_server()
    agent = fresh.start_agent("--drain-timeout=3s")
    slow, stuck = Reader(), Reader()
    async with (
        listening(slow.serve, receive_buffer=4096, segment=1000) as slow_address,
        listening(stuck.serve, receive_buffer=4096, segment=1000) as stuck_address,
        connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
    ):
        for_slow = await left_unread(tunnel, slow_address, agent)
        for_stuck = await left_unread(tunnel, stuck_address, agent)
        agent.send(signal.SIGTERM)
        await asyncio.to_thread(agent.wait_for, "draining")
        await asyncio.sleep(1.0)  # longer than an agent without connections takes to end
        slow.may_read.set()
        async with asyncio.timeout(10):
            assert await slow.outcome == (for_slow, "end")
            assert await asyncio.to_thread(agent.wait) == 0
            stuck.may_read.set()
            received, how = await stuck.outcome
            whole = received == for_stuck  # the kernel has taken all of it after all
            assert how == ("end" if whole else "error"), "a truncated upload that looks complete"


async def test_an_agent_that_is_told_twice_to_end_resets_what_is_open(fresh):
    fresh.start_server()
    agent = fresh.start_agent()
    target = Reader()
    target.may_read.set()
    async with listening(target.serve) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        _, writer = await tunnel.dial(address)
        writer.write(b"begun")
        await asyncio.sleep(0.2)
        agent.send(signal.SIGTERM)
        await asyncio.to_thread(agent.wait_for, "draining")
        agent.send(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await target.outcome == (5, "error"), "its client had not ended"
        writer.transport.abort()


async def test_a_server_that_ends_waits_for_a_client_that_reads_slowly(fresh):
    server = fresh.start_server("--graceful-shutdown-timeout=8s")
    fresh.start_agent()
    size = UNIX_BUFFER + 2 * PIECE  # more than the socket keeps, and not more than the first window in addition
    async with listening(targets.source(size)) as address:
        status, sock = await asyncio.to_thread(connect_socket.dial, fresh.socket, address)
        assert status == 200
        sock.shutdown(1)  # the connection is over when the target has ended, too
        await asyncio.sleep(0.5)
        server.send(signal.SIGTERM)
        await asyncio.sleep(2.0)  # longer than a server without connections takes to end
        assert server.returncode is None
        received = 0
        while data := await asyncio.to_thread(sock.recv, 1 << 20):
            received += len(data)
        assert received == size
        assert await asyncio.to_thread(server.wait) == 0
        sock.close()


@pytest.mark.parametrize(("mode", "unix"), [("grpc", True), ("http-connect", False)])
async def test_a_server_that_ends_shows_its_clients_an_error(fresh, mode, unix):
    server = fresh.start_server("--graceful-shutdown-timeout=0s")
    fresh.start_agent()
    async with listening(targets.echo) as address, connect(**fresh.frontend(mode, unix)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"open")
        assert await reader.readexactly(4) == b"open"
        server.send(signal.SIGTERM)
        with pytest.raises(ConnectionError):
            await reader.read()
        writer.transport.abort()


async def test_over_tls_the_end_of_a_target_ends_the_upload_and_the_whole_answer_arrives_in_front_of_a_clean_end(fresh):
    fresh.start_server()
    fresh.start_agent()
    tls = fresh.frontend("http-connect", unix=False)["tls"]
    read = asyncio.get_running_loop().create_future()

    async def answer_and_read_on(reader, writer):
        assert await reader.readexactly(5) == b"first"
        writer.write(bytes(300_000))
        writer.write_eof()
        read.set_result(await reader.read())

    def talk(address):
        with (
            socket.create_connection(("127.0.0.1", fresh.server_port), 5) as plain,
            tls.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock,
        ):
            sock.sendall(f"CONNECT {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"first")
            received = 0
            while data := sock.recv(65536):  # raises an exception if the server ends without close_notify
                received += len(data)
            with pytest.raises(OSError, match=r"."):
                while True:
                    sock.sendall(bytes(65536))
            return received

    async with listening(answer_and_read_on) as address:
        assert await asyncio.to_thread(talk, address) == 300_000
        assert await read == b"", "the client sent nothing more before the target ended"
