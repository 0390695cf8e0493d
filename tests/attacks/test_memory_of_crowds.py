"""Test that the server's memory shrinks after a crowd that flooded the agents' port has left."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from attack_site import MIB, measured, memory_returns
from raw_http2 import greeting, headers, literal

CROWD = 100
SECONDS = 3.0


def flood(connection: ssl.SSLSocket, end: float) -> None:
    """Make refused calls with large fields as fast as the server reads them, and read the answers."""
    names = {b":method": b"POST", b":scheme": b"http", b":path": b"/x", b":authority": b"x" * 9000}
    block = b"".join(literal(name, value) for name, value in {**names, b"content-type": b"y" * 9000}.items())
    with contextlib.suppress(OSError):
        connection.sendall(greeting())
        connection.settimeout(0)
        stream, out = 1, b""
        while time.monotonic() < end:
            if not out:
                out = b"".join(headers(stream + 2 * each, block, end_stream=True) for each in range(8))
                stream += 16
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                out = out[connection.send(out) :]
                continue
            with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
                connection.recv(65536)
            time.sleep(0.005)
    connection.close()


async def test_a_crowd_that_floods_and_leaves(token_site):
    """Memory returns after 100 flooding connections, which once left 80 MiB in a heap that could not shrink."""
    server = token_site.server()
    token_site.agent()
    async with measured(server) as cost:
        crowd = [await asyncio.to_thread(token_site.agent_socket, certificate=False) for _ in range(CROWD)]
        end = time.monotonic() + SECONDS
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(CROWD) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, flood, each, end) for each in crowd))
    assert cost.memory_growth < 150 * MIB
    await memory_returns(server, cost.memory_before)
