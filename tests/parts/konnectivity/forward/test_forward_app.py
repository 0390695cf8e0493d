"""Tests of the forward proxy's listeners: both kinds, the number of clients, and a drain that waits for them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

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
            server = (
                () if any(each.startswith("--server=") for each in arguments) else (f"--server=unix:{tmp_path}/none",)
            )
            words = [*server, f"--port={free_port()}", *arguments]
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


async def test_a_proxy_behind_the_tunnel_serves_what_is_not_excepted(make, tmp_path):
    """A destination is dialled as the proxy, by way of a server; one of the list is dialled itself."""

    async def serve(reader, writer):
        with suppress(asyncio.IncompleteReadError):
            while True:
                heads.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    heads = []
    frontend = await asyncio.start_unix_server(serve, f"{tmp_path}/frontend")
    more = ("--outbound-proxy=http://proxy.corp:3128", "--outbound-no-proxy=.svc")
    _, options = await make(f"--server=unix:{tmp_path}/frontend", *more)
    for host in ("www.example.org", "a.svc"):
        reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
        writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert heads == [b"proxy.corp:3128", b"www.example.org:443", b"a.svc:443"]
    frontend.close()
