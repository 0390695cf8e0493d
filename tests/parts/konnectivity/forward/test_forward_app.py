"""Tests of the forward proxy's listeners: both kinds, the number of clients, and a drain that waits for them."""

from __future__ import annotations

import asyncio
import time

import pytest

from konnectivity.forward.forward_app import ForwardApp
from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime.options import parse
from konnectivity.testing.deployment import free_port

REFUSED = b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x50"  # a whole request, for which no server can be reached


@pytest.fixture
async def make(tmp_path):
    """Return a function that starts the proxy with further arguments."""
    async with asyncio.TaskGroup() as tasks:
        made = []

        async def start(*arguments):
            words = [f"--server=unix:{tmp_path}/none", f"--port={free_port()}", *arguments]
            options = parse(ForwardOptions, words, {}, "konnectivity forward")
            made.append(ForwardApp(options, tasks))
            await made[-1].start()
            return made[-1], options

        yield start
        for app in made:
            await app.close()


async def answer(reader, writer):
    writer.write(REFUSED)
    found = await reader.read()
    writer.close()
    return found


async def test_a_port_and_a_unix_socket(make, tmp_path):
    _, options = await make(f"--uds-name={tmp_path}/proxy.sock")
    for streams in (
        await asyncio.open_connection("127.0.0.1", options.port),
        await asyncio.open_unix_connection(f"{tmp_path}/proxy.sock"),
    ):
        assert (await answer(*streams))[2:4] == b"\x05\x01"


async def test_more_clients_than_there_may_be(make):
    app, options = await make("--max-connections=2")
    first = [await asyncio.open_connection("127.0.0.1", options.port) for _ in range(2)]
    while app.clients < 2:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    assert await reader.read() == b""
    assert app.settings.reached["forward_connections"] == 1
    writer.close()
    assert (await answer(*first[0]))[2:4] == b"\x05\x01"
    while app.clients > 1:
        await asyncio.sleep(0.01)
    assert (await answer(*await asyncio.open_connection("127.0.0.1", options.port)))[2:4] == b"\x05\x01"
    first[1][1].close()


async def test_a_drain_waits_for_clients_and_takes_no_new_ones(make):
    app, options = await make()
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    _, idle = await asyncio.open_connection("127.0.0.1", options.port)
    writer.write(REFUSED[:1])
    while app.clients < 2 or len(app.settings.idle) != 1:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    draining = asyncio.create_task(app.drain(20))
    await asyncio.sleep(0.3)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", options.port)
    assert not draining.done()
    assert app.clients == 1  # the idle client was closed
    writer.write(REFUSED[1:])
    await reader.read()
    await draining
    assert time.monotonic() - began < 15
    writer.close()
    idle.close()
