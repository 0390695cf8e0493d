"""Tests of restarts in each pair of ours and the reference: an agent or a server is killed, or told to drain.

The connections of a program that is gone end, a draining program does to them what its kind does, and dials succeed
again soon after the successor has started. The four events follow each other in one pair; all pairs run side by side,
with one frontend each and a second one for the newest version.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager, suppress

import pytest
from reference_pairs import (
    IN_GO,
    NEWEST,
    ON_GRPCIO,
    OURS,
    PAIRINGS,
    Pairing,
    eventually,
    result,
)

from konnectivity.client import DialError
from support import targets
from support.targets import listening

ALL = (*PAIRINGS, Pairing(NEWEST, OURS, "grpc"), Pairing(OURS, NEWEST, "grpc"))
END_S = 10.0  # from the end of a program to the end of its connections, and to the exit of a drained program
RECOVERY_S = 15.0  # from the start of the successor to a dial that succeeds; CI machines are slow
pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def held(tunnel, address):
    """Hold one echo connection for the length of the block."""
    reader, writer = await tunnel.dial(address)
    try:
        await echoes(reader, writer)
        yield reader, writer
    finally:
        writer.transport.abort()


async def echoes(reader, writer):
    writer.write(b"ping")
    async with asyncio.timeout(END_S):
        found = await reader.readexactly(4)
    if found != b"ping":  # the CONNECT frontend of v0.31.0 answers 200 before the dial failed, and then says why
        raise ConnectionError(f"not the target answered: {found!r}")


async def has_ended(reader):
    """Check that a connection ends: by an end of stream or by an error."""
    async with asyncio.timeout(END_S):
        with suppress(OSError):
            assert await reader.read(1) == b""


async def fails(tunnel, address):
    """Check that a dial fails, or that its connection ends without an echo, within the bounds of both."""
    with pytest.raises((DialError, OSError, EOFError)):
        async with held(tunnel, address):
            pass


async def recovers(tunnel, address):
    """Check that a dial succeeds within RECOVERY_S; dials before it may fail."""
    end = time.monotonic() + RECOVERY_S
    while True:
        try:
            async with held(tunnel, address):
                return
        except (DialError, OSError, EOFError) as error:
            assert time.monotonic() < end, f"no dial succeeded within {RECOVERY_S:g} s, the last one: {error!r}"
            await asyncio.sleep(0.05)


async def successor_gets_dials(pair, tunnel, address):
    """Check that two dials in a row reach the agent that was started last, as soon as the DRAIN has arrived.

    The server of v0.31.0 logs a DRAIN and goes on to choose either agent by chance: there, one of the two is enough.
    """
    opened = "agent_open_endpoint_connections"
    least = 1 if pair.pairing.server == "v0.31.0" else 2
    end = time.monotonic() + END_S
    while True:
        async with held(tunnel, address), held(tunnel, address):
            try:
                await eventually(lambda: pair.agent_metrics().get(opened, 0) >= least, "the successor has dials", 1)
            except AssertionError:
                assert time.monotonic() < end
            else:
                return


async def exits(program):
    assert await asyncio.to_thread(program.wait, END_S) == 0


async def an_agent_is_killed(pair, tunnel, address):
    async with held(tunnel, address) as (reader, _):
        pair.agent.send(signal.SIGKILL)
        await has_ended(reader)
    await fails(tunnel, address)
    pair.agent = await asyncio.to_thread(pair.start_agent)
    await recovers(tunnel, address)


async def an_agent_drains(pair, tunnel, address):
    """A draining agent keeps its connection, its successor gets the dials; ours then exits, the reference's stays."""
    old = pair.agent
    async with held(tunnel, address) as (reader, writer):
        pair.agent = await asyncio.to_thread(pair.start_agent)
        if pair.pairing.agent == IN_GO:  # it handles no signal, so it is gone
            old.send(signal.SIGTERM)
            await has_ended(reader)
            return await recovers(tunnel, address)
        connected = "agent_open_server_connections"
        await eventually(lambda: pair.agent_metrics().get(connected) == 1, "the successor is connected", RECOVERY_S)
        old.send(signal.SIGTERM)
        await echoes(reader, writer)  # agents before 4f8517c1 send DRAIN after the next packet that they receive
        await successor_gets_dials(pair, tunnel, address)
        await echoes(reader, writer)
    if pair.pairing.agent in (OURS, ON_GRPCIO):
        return await exits(old)
    await asyncio.sleep(0.5)
    assert old.returncode is None
    old.send(signal.SIGTERM)
    await exits(old)


async def a_server_is_killed(pair, tunnel, address):
    async with held(tunnel, address) as (reader, _):
        pair.server.send(signal.SIGKILL)
        await has_ended(reader)
    await asyncio.to_thread(pair.server.wait)
    pair.server = await asyncio.to_thread(pair.start_server)
    await recovers(tunnel, address)


async def a_server_drains(pair, tunnel, address):
    """Our draining server keeps its connection with any agent, and exits after it; the reference's cuts it."""
    old = pair.server
    async with held(tunnel, address) as (reader, writer):
        old.send(signal.SIGTERM)
        if pair.pairing.server == OURS:
            await asyncio.sleep(0.5)
            await echoes(reader, writer)
        else:
            await has_ended(reader)
    await exits(old)
    pair.server = await asyncio.to_thread(pair.start_server)
    await recovers(tunnel, address)


EVENTS = {each.__name__: each for each in (an_agent_is_killed, an_agent_drains, a_server_is_killed, a_server_drains)}


async def all_events(pair):
    """Return the outcome of each event."""
    outcomes = {}
    async with listening(targets.echo) as address:
        for name, event in EVENTS.items():
            async with pair.connect() as tunnel:
                try:
                    outcomes[name] = await event(pair, tunnel, address)
                except Exception as error:
                    outcomes[name] = error
    return outcomes


@pytest.fixture(scope="module")
def outcomes(on_selected_pairs):
    return on_selected_pairs(all_events)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("pairing", ALL, ids=str)
def test_a_pair_recovers(outcomes, pairing, event):
    result(result(outcomes[pairing])[event])
