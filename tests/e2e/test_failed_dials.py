"""Tests that the server logs each failed dial in one line, for every frontend and at every log level."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import free_port


async def fails(deployment, address, mode="http-connect"):
    async with connect(**deployment.frontend(mode, unix=True)) as tunnel:
        with pytest.raises(DialError) as caught:
            await tunnel.dial(address)
        return str(caught.value)


def lines_of(server):
    return [line for line in server.log.splitlines() if '"Dial failed"' in line]


@pytest.mark.parametrize("level", ["-v=0", "-v=4"])
@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
async def test_the_line_says_what_and_why(fresh, mode, level):
    server = await asyncio.to_thread(fresh.start_server, level)
    address = f"127.0.0.1:{free_port()}"
    assert "No agent available" in await fails(fresh, address, mode)
    await asyncio.to_thread(server.wait_for, '"Dial failed"')
    await asyncio.to_thread(fresh.start_agent, "--agent-id=node-1")
    assert "connection refused" in await fails(fresh, address, mode)
    await asyncio.to_thread(server.wait_for, '"Dial failed"', 2)
    without, refused = lines_of(server)
    assert f'destination="{address}"' in without
    assert 'reason="No agent available"' in without
    assert "agent=" not in without
    assert f'destination="{address}" agent="node-1"' in refused
    assert f'reason="dial tcp {address}: connect: connection refused"' in refused


async def test_a_destination_that_fails_again_and_again_is_a_few_lines(fresh):
    server = await asyncio.to_thread(fresh.start_server)
    await asyncio.to_thread(fresh.start_agent)
    address = f"127.0.0.1:{free_port()}"
    for _ in range(50):
        await fails(fresh, address)
    other = f"127.0.0.1:{free_port()}"
    await fails(fresh, other)
    await asyncio.to_thread(server.wait_for, other)
    assert 3 <= len(lines_of(server)) <= 7, "three in ten seconds, and one about the other"
    async with asyncio.timeout(30):
        while "left_out=" not in server.log:
            await fails(fresh, address)
            await asyncio.sleep(0.5)
    left_out = re.search(r"left_out=(\d+)", server.log)
    assert int(left_out[1]) >= 40


async def test_a_dial_that_the_client_takes_back_is_no_line(fresh):
    server = await asyncio.to_thread(fresh.start_server)
    agent = await asyncio.to_thread(fresh.start_agent)
    agent.send(signal.SIGSTOP)
    _, writer = await asyncio.open_unix_connection(fresh.socket)
    writer.write(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.3)
    writer.transport.abort()
    await asyncio.sleep(0.3)
    agent.send(signal.SIGCONT)
    await fails(fresh, "127.0.0.1:2")
    await asyncio.to_thread(server.wait_for, '"Dial failed"')
    assert len(lines_of(server)) == 1
