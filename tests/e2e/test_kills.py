"""Tests of SIGKILL to the agent, the server or the target during a transfer: both ends get an error, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from konnectivity.client import TunnelLost, connect
from support import targets
from support.targets import listening

ERRORS = (ConnectionError, TunnelLost, OSError, asyncio.IncompleteReadError)


async def broken_within(reader, seconds=1.0):
    """Read until the connection ends; return "end" or "error" and the time in seconds that it took."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(10):
            while await reader.read(1 << 20):
                pass
        return "end", time.monotonic() - started
    except ERRORS:
        return "error", time.monotonic() - started


WAYS = [("http-connect", False), ("grpc", False), ("grpc", True), ("http-connect", True)]
ways = pytest.mark.parametrize(("mode", "unix"), WAYS, ids=[f"{m}-{'unix' if u else 'mtls'}" for m, u in WAYS])


def expected(mode, unix):
    # A unix socket has no reset: closing it is all a server can do (docs/internals/protocol.md).
    return "end" if mode == "http-connect" and unix else "error"


@pytest.mark.parametrize(
    ("victim", "mode", "unix"),
    [
        ("agent", "http-connect", True),
        ("agent", "grpc", False),
        ("server", "grpc", True),
        ("server", "http-connect", False),
    ],
)
async def test_a_killed_program_in_mid_download(fresh, victim, mode, unix):
    server = fresh.start_server()
    agent = fresh.start_agent()
    saw = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                await asyncio.sleep(0.001)
        except (ConnectionError, RuntimeError):  # uvloop raises RuntimeError for a closed transport
            saw.set_result(reader.exception())

    async with listening(serve) as address, connect(**fresh.frontend(mode, unix)) as tunnel:
        reader, writer = await tunnel.dial(address)
        await reader.readexactly(1_000_000)
        (agent if victim == "agent" else server).send(signal.SIGKILL)
        how, took = await broken_within(reader)
        # The kernel of a killed server ends TCP with FIN. gRPC and a TLS client that checks for close_notify (below)
        # report an error; asyncio's TLS does not check.
        assert how == (expected(mode, unix) if victim == "agent" or mode == "grpc" else "end")
        assert took < 1.0
        async with asyncio.timeout(2):
            assert isinstance(await saw, ConnectionError), "the target, too, is to see that it was cut"
        writer.transport.abort()


async def test_a_tls_client_that_checks_sees_a_killed_server_as_an_error(fresh):
    server = fresh.start_server()
    fresh.start_agent()
    tls = fresh.frontend("http-connect", unix=False)["tls"]

    def download(address):
        with socket.create_connection(("127.0.0.1", fresh.server_port), 5) as plain:
            with tls.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
                sock.sendall(f"CONNECT {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                received = 0
                while data := sock.recv(65536):
                    received += len(data)
                    if received > 1_000_000:
                        server.send(signal.SIGKILL)

    async with listening(targets.source(1 << 30)) as address:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):  # Python before 3.11.4: no SSLEOFError
            await asyncio.to_thread(download, address)


async def test_a_killed_server_in_mid_upload_is_an_error_for_the_target(fresh):
    server = fresh.start_server()
    fresh.start_agent()
    seen = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        try:
            while await reader.read(1 << 20):
                pass
            seen.set_result("end")
        except ConnectionResetError:
            seen.set_result("error")

    async with listening(serve) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        _, writer = await tunnel.dial(address)
        writer.write(bytes(1_000_000))
        await writer.drain()
        await asyncio.sleep(0.2)
        server.send(signal.SIGKILL)
        async with asyncio.timeout(1):
            assert await seen == "error", "a truncated upload that looks complete"
        writer.transport.abort()


@ways
async def test_a_killed_target(deployment, mode, unix):
    code = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept()\n"
        "while True: c.sendall(bytes(65536))\n"
    )
    target = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert target.stdout is not None
        port = int(target.stdout.readline())
        async with connect(**deployment.frontend(mode, unix)) as tunnel:
            reader, writer = await tunnel.dial(f"127.0.0.1:{port}")
            await reader.readexactly(65536)
            writer.write(b"unread input at the target makes its kernel answer the kill with a reset, not with FIN")
            await reader.readexactly(10 * 65536)
            await asyncio.sleep(0.2)
            target.kill()
            how, took = await broken_within(reader)
            assert how == expected(mode, unix)
            assert took < 1.0
            writer.transport.abort()
    finally:
        target.kill()
        target.wait()
        target.stdout.close()


async def test_after_all_of_it_nothing_is_left(fresh):
    """After all kills, server and agent have as many open file descriptors as at the start."""
    server = fresh.start_server()
    agent = fresh.start_agent()

    def descriptors():
        return [len(os.listdir(f"/proc/{process.pid}/fd")) for process in (server, agent)]

    before = descriptors()
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:

        async def churn(number):
            reader, writer = await tunnel.dial(address)
            writer.write(bytes(1000))
            await reader.readexactly(1000)
            if number % 3 == 0:
                writer.transport.abort()
            elif number % 3 == 1:
                writer.write_eof()
                await reader.read()
            writer.close()

        for _ in range(10):
            await asyncio.gather(*(churn(number) for number in range(30)))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(8):
            while descriptors() != before:
                await asyncio.sleep(0.1)
    assert descriptors() == before


async def test_the_agent_comes_back_after_its_server_did(fresh):
    server = fresh.start_server()
    agent = fresh.start_agent("-v=1")
    server.send(signal.SIGKILL)
    server.wait()
    fresh.start_server()
    await asyncio.to_thread(agent.wait_for, "Connected to server", 2)
    async with listening(targets.echo) as address, connect(**fresh.frontend("grpc", unix=True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"back")
        assert await reader.readexactly(4) == b"back"
        writer.close()


async def test_sigterm_drains_the_agent_then_it_exits_0(fresh):
    fresh.start_server()
    agent = fresh.start_agent()
    other = fresh.start_agent("--agent-id=other")
    async with listening(targets.echo) as address, connect(**fresh.frontend("http-connect", unix=True)) as tunnel:
        streams = [await tunnel.dial(address) for _ in range(10)]
        agent.send(signal.SIGTERM)
        await asyncio.to_thread(agent.wait_for, "draining")
        for reader, writer in streams:  # open connections continue
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still"
        fresh_ones = [await tunnel.dial(address) for _ in range(10)]  # new dials use another agent
        for _, writer in streams:
            writer.close()
        assert await asyncio.to_thread(agent.wait) == 0
        for reader, writer in fresh_ones:
            writer.write(b"fine")
            assert await reader.readexactly(4) == b"fine"
            writer.close()
    assert other.returncode is None


def test_a_busy_port_and_a_missing_file_are_clear_messages(fresh):
    fresh.start_server()
    second = fresh._start("konnectivity_server", fresh.server_arguments(), "second.log")
    assert second.wait() == 1
    assert f"cannot listen on 127.0.0.1:{fresh.agent_port} for agents: address already in use" in second.log.lower()
    assert "Traceback" not in second.log
    third = fresh._start("konnectivity_agent", [*fresh.agent_arguments(), "--ca-cert=/no/such/file"], "third.log")
    assert third.wait() == 1
    assert "/no/such/file" in third.log
    assert "Traceback" not in third.log
