"""Tests of two servers that share one unix socket path for frontends: planned replacements, and mistakes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

KINDS = {
    "native": ["--mode=http-connect"],
    "both modes": [],
    "workers": ["--mode=http-connect", "--workers=2"],
    "grpcio": ["--mode=grpc", "--grpc-implementation=grpcio"],
}


def start(deployment, *more):
    """Start a server without waiting for it; ports that a predecessor may still hold are replaced by others."""
    own = [f"--{name}-port={free_port()}" for name in ("server", "health", "admin")]
    arguments = deployment.server_arguments(*more, *own, "--graceful-shutdown-timeout=6s")
    return deployment.start_package("konnectivity_server", arguments)


async def dialled(tunnel, address):
    """Dial until a dial succeeds: a worker learns of other workers' agents a moment later."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await tunnel.dial(address)
            except DialError:
                await asyncio.sleep(0.1)


async def until_echo(deployment, mode, address):
    """Wait until a new dial through the unix socket is answered."""
    async with connect(**deployment.frontend(mode, True)) as tunnel:
        reader, writer = await dialled(tunnel, address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_predecessor_leaves_the_socket_of_its_successor_alone(fresh, kind):
    mode = "grpc" if kind == "grpcio" else "http-connect"
    first = await asyncio.to_thread(start, fresh, *KINDS[kind])
    await asyncio.to_thread(first.wait_for, "Proxy server started")
    await asyncio.to_thread(fresh.start_agent)
    async with listening(targets.echo) as address, connect(**fresh.frontend(mode, True)) as tunnel:
        reader, writer = await dialled(tunnel, address)
        first.send(signal.SIGTERM)
        await asyncio.to_thread(first.wait_for, "draining" if kind != "workers" else "workers drain")
        port = free_port()  # grpcio holds the old port until it ends
        second = await asyncio.to_thread(start, fresh, *KINDS[kind], f"--agent-port={port}")
        await asyncio.to_thread(second.wait_for, "Proxy server started")
        await asyncio.to_thread(fresh.start_agent, port=port)
        assert first.returncode is None
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        await until_echo(fresh, mode, address)
        inode = os.lstat(fresh.socket).st_ino
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(first.wait, 20) == 0
        assert os.lstat(fresh.socket).st_ino == inode
        await until_echo(fresh, mode, address)
    second.send(signal.SIGTERM)
    assert await asyncio.to_thread(second.wait, 20) == 0
    assert not os.path.lexists(fresh.socket)


@pytest.mark.parametrize("kind", ["native", "workers", "grpcio"])
async def test_a_server_does_not_take_the_socket_of_a_live_one(fresh, kind):
    first = await asyncio.to_thread(start, fresh, *KINDS[kind])
    await asyncio.to_thread(first.wait_for, "Proxy server started")
    inode = os.lstat(fresh.socket).st_ino
    second = await asyncio.to_thread(start, fresh, *KINDS[kind], f"--agent-port={free_port()}")
    assert await asyncio.to_thread(second.wait, 20) == 1
    assert "for frontends: another server answers there; stop it first, or choose another path" in second.log
    assert os.lstat(fresh.socket).st_ino == inode
    assert first.returncode is None


@pytest.mark.parametrize("kind", ["native", "workers", "grpcio"])
async def test_a_server_does_not_replace_a_file(fresh, kind):
    Path(fresh.socket).write_text("precious")
    server = await asyncio.to_thread(start, fresh, *KINDS[kind])
    assert await asyncio.to_thread(server.wait, 20) == 1
    assert "there is an ordinary file at this path; remove it, or choose another path" in server.log
    assert Path(fresh.socket).read_text() == "precious"
