"""Tests of the pump between two connections, with sockets: ends are passed on, and a pump that fails resets both."""

from __future__ import annotations

import asyncio
import socket

import pytest

from konnectivity.client.byte_pump import BytePump
from konnectivity.runtime import task_guard


async def connected() -> tuple[socket.socket, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outer = socket.create_connection(listener.getsockname(), timeout=10)
        inner, _ = listener.accept()
    return outer, await asyncio.open_connection(sock=inner)


class FailingReader:
    """Reader that raises an error which no connection has."""

    async def read(self, size: int) -> bytes:
        raise ValueError("no such error is known")


async def assert_reset(*sockets: socket.socket) -> None:
    for each in sockets:
        with each, pytest.raises(ConnectionResetError):
            await asyncio.to_thread(each.recv, 1)


async def test_each_direction_ends_by_itself():
    one, inner_one = await connected()
    other, inner_other = await connected()
    with one, other:
        async with asyncio.TaskGroup() as tasks:
            task_guard.start(tasks, BytePump(tasks, inner_one, inner_other).run, "test")
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
        pump = task_guard.start(tasks, BytePump(tasks, inner_one, inner_other).run, "test")
        one.sendall(b"x")
        assert await asyncio.to_thread(other.recv, 10) == b"x"
        pump.cancel()
    await assert_reset(one, other)


async def test_a_pump_is_cancelled_behind_the_end_of_one_direction():
    one, inner_one = await connected()
    other, inner_other = await connected()
    async with asyncio.TaskGroup() as tasks:
        pump = task_guard.start(tasks, BytePump(tasks, inner_one, inner_other).run, "test")
        one.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(other.recv, 10) == b""
        pump.cancel()
    await assert_reset(one)
    other.close()


@pytest.mark.parametrize("failing", [0, 1])
async def test_an_unexpected_error_in_either_direction_resets_both_connections(failing):
    one, inner_one = await connected()
    other, inner_other = await connected()
    ends = [inner_one, inner_other]
    ends[failing] = FailingReader(), ends[failing][1]
    async with asyncio.TaskGroup() as tasks:
        task_guard.start(tasks, BytePump(tasks, *ends).run, "test")
    await assert_reset(one, other)
