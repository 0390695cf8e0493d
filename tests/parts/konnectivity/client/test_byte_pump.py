"""Tests of the pump between two connections, with sockets: ends are passed on, and a pump that fails resets both."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

import pytest

from konnectivity.client.byte_pump import BytePump
from konnectivity.runtime import task_guard

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def connected() -> tuple[socket.socket, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outer = socket.create_connection(listener.getsockname(), timeout=10)
        inner, _ = listener.accept()
    return outer, await asyncio.open_connection(sock=inner)


async def assert_reset(*sockets: socket.socket) -> None:
    for each in sockets:
        with each, pytest.raises(ConnectionResetError):
            await asyncio.to_thread(each.recv, 1)


async def test_each_direction_ends_by_itself():
    one, inner_one = await connected()
    other, inner_other = await connected()
    with one, other:
        async with asyncio.TaskGroup() as tasks:
            task_guard.start(tasks, BytePump(inner_one, inner_other).run, "test")
            one.sendall(b"question")
            one.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(other.makefile("rb").read) == b"question"
            other.sendall(b"answer")
            other.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(one.makefile("rb").read) == b"answer"


async def test_a_pump_that_is_cancelled_resets_both_connections():
    one, inner_one = await connected()
    other, inner_other = await connected()
    async with asyncio.TaskGroup() as tasks:
        pump = task_guard.start(tasks, BytePump(inner_one, inner_other).run, "test")
        one.sendall(b"x")
        assert await asyncio.to_thread(other.recv, 10) == b"x"
        pump.cancel()
    await assert_reset(one, other)


async def test_a_pump_is_cancelled_behind_the_end_of_one_direction():
    one, inner_one = await connected()
    other, inner_other = await connected()
    async with asyncio.TaskGroup() as tasks:
        pump = task_guard.start(tasks, BytePump(inner_one, inner_other).run, "test")
        one.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(other.recv, 10) == b""
        pump.cancel()
    await assert_reset(one)
    other.close()


@pytest.mark.parametrize("broken", [0, 1])
async def test_a_side_that_breaks_resets_the_other(broken):
    outer, inner = zip(*[await connected() for _ in range(2)], strict=True)
    async with asyncio.TaskGroup() as tasks:
        pump = task_guard.start(tasks, BytePump(*inner).run, "test")
        outer[0].sendall(b"x")
        assert await asyncio.to_thread(outer[1].recv, 10) == b"x"
        outer[broken].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        outer[broken].close()
        await pump
    await assert_reset(outer[1 - broken])


@pytest.mark.parametrize("broken", [0, 1])
async def test_a_side_that_broke_before_the_pump_began_resets_the_other(broken):
    outer, inner = zip(*[await connected() for _ in range(2)], strict=True)
    outer[broken].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    outer[broken].close()
    with pytest.raises(ConnectionResetError):
        await inner[broken][0].read(1)
    await BytePump(*inner).run()
    await assert_reset(outer[1 - broken])


async def test_bytes_and_an_end_that_arrived_before_the_pump_began_are_passed_on():
    one, inner_one = await connected()
    other, inner_other = await connected()
    with one, other:
        one.sendall(b"early and late")
        one.shutdown(socket.SHUT_WR)
        early = await inner_one[0].readexactly(5)
        while b"late" not in inner_one[0]._buffer:
            await asyncio.sleep(0.01)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(BytePump(inner_one, inner_other, early).run())
            assert await asyncio.to_thread(other.makefile("rb").read) == b"early and late"
            other.close()
        await inner_one[1].wait_closed()


async def test_a_side_that_reads_nothing_stops_the_other_and_loses_no_byte():
    one, inner_one = await connected()
    other, inner_other = await connected()
    data = random.randbytes(20_000_000)
    with one, other:
        async with asyncio.TaskGroup() as tasks:
            pump = task_guard.start(tasks, BytePump(inner_one, inner_other).run, "test")
            sent = asyncio.create_task(asyncio.to_thread(one.sendall, data))
            await asyncio.sleep(0.3)
            assert not sent.done()
            assert inner_other[1].transport.get_write_buffer_size() < 1_000_000
            received = asyncio.create_task(asyncio.to_thread(other.makefile("rb").read))
            await sent
            one.shutdown(socket.SHUT_WR)
            assert await received == data
            other.shutdown(socket.SHUT_WR)
            await pump
