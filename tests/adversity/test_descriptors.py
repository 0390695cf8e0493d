"""Tests of exhausted file descriptors: in the server, in an agent, and in one of two agents."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import suppress

import pytest
from fault_site import ERRORS, descriptors, get, until, until_echo

from konnectivity.client import DialError, connect
from support import targets
from support.targets import listening

ROOM = 20  # descriptors allowed beyond those of a program at rest
ENOUGH = 60  # more dials than fit into ROOM


def narrow(process):
    limit = descriptors(process) + ROOM
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, limit))


async def fill(tunnel, address):
    """Dial until five dials have failed; return the open connections and the errors."""
    streams, errors = [], []
    for _ in range(ENOUGH):
        try:
            streams.append(await tunnel.dial(address, 3))
        except DialError as error:
            errors.append(str(error))
            if len(errors) == 5:
                break
    return streams, errors


async def go_on(streams):
    """Return the number of these connections that no longer echo."""
    broken = 0
    for reader, writer in streams:
        try:
            writer.write(b"still")
            async with asyncio.timeout(5):
                assert await reader.readexactly(5) == b"still"
        except ERRORS:
            broken += 1
    return broken


async def end(streams):
    for _, writer in streams:
        writer.close()
        with suppress(*ERRORS):
            await writer.wait_closed()


@pytest.mark.parametrize("door", ["", "--max-connections-per-source=1000"])
async def test_a_server_has_none_left(site, outcome, door):
    """New clients are refused at once or wait; open connections continue; then the server recovers fully."""
    server = site.server(*filter(None, [door]))
    site.agent()
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until_echo(tunnel, address, 5)
        narrow(server)
        streams, errors = await fill(tunnel, address)
        assert len(streams) > ROOM / 2
        assert errors, "there was room for all"
        outcome.failed(await go_on(streams), len(streams))
        async with connect(**site.frontend("http-connect", False)) as by_tcp:
            with pytest.raises(DialError):
                await by_tcp.dial(address, 2)
        await end(streams)
        freed = time.monotonic()
        for mode, unix in [("http-connect", True), ("http-connect", False), ("grpc", True), ("grpc", False)]:
            async with connect(**site.frontend(mode, unix)) as again:
                await until_echo(again, address, 5)
        await until(lambda: get(site.health_port, "/readyz")[0] == 200, 5)
        outcome.recovered(time.monotonic() - freed)
        await asyncio.to_thread(site.agent, "--agent-id=another")  # the agent port accepts connections as well
    await site.at_rest()


async def test_an_agent_has_none_left(site, outcome):
    site.server()
    agent = site.agent("-v=2")
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until_echo(tunnel, address, 5)
        narrow(agent)
        streams, errors = await fill(tunnel, address)
        assert set(errors) == {f"dial tcp {address}: socket: too many open files"}
        with pytest.raises(DialError, match=r"^dial tcp: lookup localhost: socket: too many open files$"):
            await tunnel.dial(f"localhost:{address.rpartition(':')[2]}")
        outcome.failed(await go_on(streams), len(streams))
        await end(streams)
        freed = time.monotonic()
        await until_echo(tunnel, f"localhost:{address.rpartition(':')[2]}", 5)
        await until(lambda: get(agent.health_port, "/readyz")[0] == 200, 5)
        outcome.recovered(time.monotonic() - freed)
    await site.at_rest()


async def test_an_agent_of_two_has_none_left(site, outcome):
    site.server()
    full = site.agent("--agent-id=full")
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        narrow(full)
        streams, errors = await fill(tunnel, address)
        assert errors
        await asyncio.to_thread(site.agent, "--agent-id=empty")
        more, errors = await fill(tunnel, address)
        outcome.failed(len(errors), len(more))
        assert len(more) == ENOUGH
        await end(streams + more)
    await site.at_rest()
