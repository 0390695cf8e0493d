"""Tests of programs whose stderr is not read: they serve and exit as fast as others, with Python's own buffering."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.targets import listening

UNBUFFERED = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")


@contextmanager
def unread(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the command within which a program has a pipe of 4 KiB as stdout and stderr; it is open, and not read."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    unset = [word for name in UNBUFFERED for word in ("-u", name)]
    try:
        yield ("env", *unset, "sh", "-c", f'exec "$@" >{path} 2>&1', "sh")
    finally:
        os.close(reader)


async def ready(health_port: int) -> None:
    """Wait until a server with an agent answers as ready, since its log cannot be read."""
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", health_port)
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if b" 200 " in answer.partition(b"\r\n")[0]:
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("more", [(), ("--workers=2",), ("--audit-log=-",)])
async def test_a_server_and_an_agent_serve_and_end(fresh, tmp_path, more):
    with unread(tmp_path / "of-server") as server_within, unread(tmp_path / "of-agent") as agent_within:
        arguments = fresh.server_arguments("-v=6", "--graceful-shutdown-timeout=1s", *more)
        server = fresh.start_package("konnectivity_server", arguments, within=server_within)
        arguments = fresh.agent_arguments("-v=6", "--drain-timeout=1s", health_port=free_port(), admin_port=free_port())
        agent = fresh.start_package("konnectivity_agent", arguments, within=agent_within)
        await ready(fresh.health_port)
        async with (
            listening(targets.echo) as address,
            connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
        ):
            for _ in range(200):
                with pytest.raises(DialError):
                    await tunnel.dial("127.0.0.1:1")
            reader, writer = await tunnel.dial(address)
            writer.write(b"still there?")
            assert await reader.readexactly(12) == b"still there?"
            writer.close()
        for process in (agent, server):
            began = time.monotonic()
            process.send(signal.SIGTERM)
            assert process.wait(20) == 0
            assert time.monotonic() - began < 8, "1 s to drain, 2 s for the last lines, and a busy machine"
