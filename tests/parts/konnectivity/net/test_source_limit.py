"""Source limit on real sockets: connections are counted by source address, however they end."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from contextlib import suppress

import pytest

from konnectivity.net.socket_listeners import ListenError, SourceLimits, admit_tcp, listen_tcp
from konnectivity.testing.deployment import free_port


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        if data == b"bye":
            self.transport.close()


@pytest.fixture
async def listener():
    reached, port = Counter(), free_port()
    async with asyncio.TaskGroup() as tasks:
        door = await admit_tcp("tests", "127.0.0.1", port, None, Echo, SourceLimits(tasks, 2, reached=reached))
        door.reached, door.port = reached, port
        yield door
        door.close()


async def enter(listener, source="127.0.0.1"):
    return await asyncio.open_connection("127.0.0.1", listener.port, local_addr=(source, 0))


async def says(guest, text):
    guest[1].write(text)
    return await asyncio.wait_for(guest[0].read(100), 5)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_one_source_is_full_and_another_is_not(listener):
    inside = [await enter(listener) for _ in range(2)]
    assert [await says(guest, b"hello") for guest in inside] == [b"hello"] * 2
    refused = await enter(listener)
    assert await asyncio.wait_for(refused[0].read(), 5) == b""
    other = await enter(listener, "127.0.0.2")
    assert await says(other, b"hello") == b"hello"
    assert listener.open == {"127.0.0.1": 2, "127.0.0.2": 1}
    assert listener.reached == {"connections_per_source": 1}
    inside[0][1].close()  # one connection ends itself, one is closed by the limit
    assert await says(inside[1], b"bye") == b"bye"
    await until(lambda: listener.open == {"127.0.0.2": 1})
    again = await enter(listener)
    assert await says(again, b"hello") == b"hello"
    for _, writer in (*inside, refused, other, again):
        writer.close()
    await until(lambda: not listener.open)


async def test_those_inside_stay_when_the_door_is_closed(listener):
    guest = await enter(listener)
    assert await says(guest, b"hello") == b"hello"
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await enter(listener)
    assert await says(guest, b"still here") == b"still here"
    guest[1].close()
    await until(lambda: not listener.open)


async def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(
                ListenError, match=f"cannot listen on 127.0.0.1:{port} for tests: address already in use"
            ):
                await admit_tcp("tests", "127.0.0.1", port, None, Echo, SourceLimits(tasks, 1))


async def test_all_addresses():
    async with asyncio.TaskGroup() as tasks:
        port = free_port()
        door = await admit_tcp("tests", "", port, None, Echo, SourceLimits(tasks, 1))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        door.close()


@pytest.mark.parametrize("ended", [False, True], ids=["the-listener-is-closed", "the-tasks-have-ended"])
async def test_a_connection_is_closed_whose_handshake_is_cancelled_before_it_begins(ended):
    port = free_port()
    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            listener = await admit_tcp("tests", "127.0.0.1", port, None, Echo, SourceLimits(tasks))
            if ended:
                raise ValueError("the end of the program")
            await read_end(listener, port)
    if ended:
        await read_end(listener, port)


async def read_end(listener, port):
    """Accept a client and close the listener at once: the client reads the end, also without garbage collection."""
    gc.disable()
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            for each in listener._sockets:
                listener._accept(each)
            assert listener.open
            listener.close()
            for _ in range(3):
                await asyncio.sleep(0)
            assert not listener.open
            client.settimeout(5)
            assert client.recv(1) == b""
    finally:
        gc.enable()


def taken(port):
    """Return the loopback addresses, IPv4 and IPv6, that accept connections on a port."""
    found = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            if not client.connect_ex((host, port)):
                found.append(host)
    return found


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "0::0", "[::]"])
@pytest.mark.parametrize("listen", ["admit", "plain"])
async def test_an_unspecified_address_is_both_families(host, listen):
    async with asyncio.TaskGroup() as tasks:
        port = free_port()
        if listen == "admit":
            listener = await admit_tcp("tests", host, port, None, Echo, SourceLimits(tasks))
        else:
            listener = await listen_tcp("tests", host, port, None, Echo)
        assert await asyncio.to_thread(taken, port) == ["127.0.0.1", "::1"]
        listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_any_other_address_is_itself(host):
    port = free_port()
    listener = await listen_tcp("tests", host, port, None, Echo)
    assert await asyncio.to_thread(taken, port) == [host]
    listener.close()


async def test_a_port_that_one_family_has_lost():
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port = free_port()
        other.bind(("::", port))
        other.listen()
        with pytest.raises(ListenError, match=rf"cannot listen on 0\.0\.0\.0:{port} for tests: address already in use"):
            await listen_tcp("tests", "0.0.0.0", port, None, Echo)


async def test_a_name_that_is_none():
    with pytest.raises(ListenError, match=r"cannot listen on no\.such\.invalid:1 for tests: \D+$"):
        await listen_tcp("tests", "no.such.invalid", 1, None, Echo)
