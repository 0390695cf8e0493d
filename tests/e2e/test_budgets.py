"""Tests of the memory budgets for stalled connections: a budget is spent, further dials fail, memory is given back."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from konnectivity.client import DialError, connect
from support import targets
from support.metrics_page import metrics
from support.targets import listening

MIB = 1024 * 1024


async def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def spent(deployment, tunnel, download):
    """Open connections that do not read until the server refuses one; yield the refusal and the open connections."""
    readers = []
    try:
        for _ in range(200):
            try:
                reader, writer = await tunnel.dial(download)
            except DialError as error:
                yield error, readers
                return
            readers.append((reader, writer))
            await reader.readexactly(1)
            await asyncio.sleep(0.02)
        pytest.fail("200 stalled connections, and none was refused")
    finally:
        for _, writer in readers:
            writer.transport.abort()


@pytest.mark.parametrize("mode", ["http-connect", "grpc"])
@pytest.mark.parametrize("budget", ["process", "tunnel"])
async def test_a_spent_budget_refuses_new_dials_until_it_is_given_back(fresh, mode, budget):
    fresh.start_server(f"--{budget}-buffer-budget=512Ki", "--connection-window=64Ki", "--connection-window-max=64Ki")
    fresh.start_agent()
    async with (
        listening(targets.source(16 * MIB)) as download,
        listening(targets.echo) as address,
        connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
        connect(**fresh.frontend(mode, unix=True)) as asking,
        spent(fresh, tunnel, download) as (error, clients),
    ):
        assert "out of buffer memory" in str(error)
        with pytest.raises(DialError, match="out of buffer memory"):
            await asking.dial(address)
        found = await asyncio.to_thread(metrics, fresh.health_port)
        assert found["server_dials_refused_total"] >= 2
        assert found["server_buffered_bytes"] >= 512 * 1024
        # Open connections survive: every byte of a connection that is read again arrives.
        reader, _ = clients[0]
        assert len(await reader.readexactly(16 * MIB - 1)) == 16 * MIB - 1
        for _, writer in clients:
            writer.transport.abort()
        await until(lambda: metrics(fresh.health_port)["server_buffered_bytes"] == 0)
        reader, writer = await asking.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_http_says_503(fresh):
    fresh.start_server("--process-buffer-budget=256Ki")
    fresh.start_agent()
    async with (
        listening(targets.source(16 * MIB)) as download,
        connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
        spent(fresh, tunnel, download),
    ):
        reader, writer = await asyncio.open_unix_connection(fresh.socket)
        writer.write(b"CONNECT node:1 HTTP/1.1\r\nHost: node:1\r\n\r\n")
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 503 out of buffer memory: too many stalled connections\r\n")
        assert answer.endswith("out of buffer memory: too many stalled connections")
        writer.close()


async def test_an_agent_that_has_no_memory_left_says_so_and_another_is_asked(fresh):
    """Uploads to targets that do not read spend the memory budget of the agent, not the budget of the server."""
    fresh.start_server()
    flags = ("--process-buffer-budget=256Ki", "--connection-window=64Ki", "--connection-window-max=64Ki")
    full = fresh.start_agent("--agent-id=full", *flags)
    async with (
        listening(targets.sleeper, receive_buffer=64 * 1024) as deaf,
        listening(targets.echo) as address,
        connect(**fresh.frontend("http-connect", unix=True)) as tunnel,
    ):
        writers = []
        with pytest.raises(DialError, match="out of buffer memory"):
            for _ in range(20):
                _, writer = await tunnel.dial(deaf)
                writers.append(writer)
                writer.write(bytes(16 * MIB))  # more than the kernels between agent and target take
                await asyncio.sleep(0.3)
        assert metrics(full.health_port)["agent_dials_refused_total"] >= 1
        await asyncio.to_thread(fresh.start_agent, "--agent-id=empty")
        for _ in range(10):
            reader, writer = await tunnel.dial(address)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        for writer in writers:
            writer.transport.abort()
