"""Tests of a target and of a client that stop reading, beside an interactive connection, in each pair.

The end of the tunnel that must write to the stalled side decides. Ours resets that one connection after at most 2 s,
and the others go on. The end of the reference stops every connection of the agent; as soon as the stalled side has
ended, all go on. All pairs run with HTTP CONNECT, the newest version also with gRPC; three pairs run side by side.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from reference_pairs import NEWEST, ON_GRPCIO, OURS, PAIRINGS, Pairing, result

from support import targets
from support.targets import listening

ALL = (*PAIRINGS, Pairing(NEWEST, OURS, "grpc"), Pairing(OURS, NEWEST, "grpc"))
MIB = 1 << 20
STALLED_S = 2.0  # an echo that takes longer has met the stall
BOUND_S = 15.0  # the hold of 2 s, and the time of a slow CI machine
pytestmark = pytest.mark.timeout(300)


class StuckTarget:
    """Target that reads nothing, and ends the connection when `let_go` is set."""

    def __init__(self):
        self.let_go = asyncio.Event()

    async def serve(self, reader, writer):
        writer.transport.pause_reading()
        await self.let_go.wait()


class Source:
    """Target that sends without end after the client's first byte; `ended` is set when the connection has ended.

    A target that speaks first meets another fault of the reference: its data may precede the 200 of a CONNECT.
    """

    def __init__(self):
        self.ended = asyncio.Event()

    async def serve(self, reader, writer):
        await reader.readexactly(1)
        try:
            while True:
                writer.write(bytes(MIB))
                await writer.drain()
        finally:
            self.ended.set()


class Interactive:
    """Connection that sends one byte at a time and waits for its echo."""

    def __init__(self, streams):
        self._reader, self._writer = streams

    async def echo(self, timeout_s=BOUND_S):
        self._writer.write(b"k")
        await self.answer(timeout_s)

    async def answer(self, timeout_s=BOUND_S):
        async with asyncio.timeout(timeout_s):
            assert await self._reader.readexactly(1) == b"k"

    async def stalls(self):
        """Wait until an echo has no answer within STALLED_S; `answer` reads that answer later."""
        async with asyncio.timeout(2 * BOUND_S):
            with suppress(TimeoutError):
                while True:
                    await self.echo(STALLED_S)
                    await asyncio.sleep(0.02)

    async def is_answered_until(self, ended):
        """Check that every echo is answered within its bound until the stalled connection has ended, and after it."""
        async with asyncio.timeout(2 * BOUND_S):
            while not ended.is_set():
                await self.echo()
                await asyncio.sleep(0.02)
        await self.echo()

    def close(self):
        self._writer.transport.abort()


async def push(writer, ended):
    """Send without end; set `ended` when the connection was reset."""
    with suppress(OSError):
        while True:
            writer.write(bytes(MIB))
            await writer.drain()
    ended.set()


async def a_target_stops_reading(pair, tunnel, interactive):
    target, ended = StuckTarget(), asyncio.Event()
    async with listening(target.serve, receive_buffer=64 * 1024) as address:
        _, writer = await tunnel.dial(address)
        pushing = asyncio.ensure_future(push(writer, ended))
        if pair.pairing.agent in (OURS, ON_GRPCIO):
            await interactive.is_answered_until(ended)
        else:
            await interactive.stalls()
            target.let_go.set()
            await interactive.answer()
        pushing.cancel()
        writer.transport.abort()


async def a_client_stops_reading(pair, tunnel, interactive):
    source = Source()
    async with listening(source.serve) as address:
        reader, writer = await tunnel.dial(address)
        writer.write(b"g")
        await reader.readexactly(1000)  # the transfer has begun; from here on the client does not read
        if pair.pairing.server == OURS:
            await interactive.is_answered_until(source.ended)
        else:
            await interactive.stalls()
            writer.transport.abort()
            await interactive.answer()
        writer.transport.abort()


STALLS = {each.__name__: each for each in (a_target_stops_reading, a_client_stops_reading)}


async def all_stalls(pair):
    """Return the outcome of each stall; a dial after each of them must succeed."""
    outcomes = {}
    async with listening(targets.echo) as address:
        for name, stall in STALLS.items():
            async with pair.connect() as tunnel:
                interactive = Interactive(await tunnel.dial(address))
                try:
                    await interactive.echo()
                    await stall(pair, tunnel, interactive)
                    later = Interactive(await tunnel.dial(address, timeout_s=BOUND_S))
                    await later.echo()
                    later.close()
                    outcomes[name] = None
                except Exception as error:
                    outcomes[name] = error
                interactive.close()
    return outcomes


@pytest.fixture(scope="module")
def outcomes(on_selected_pairs):
    return on_selected_pairs(all_stalls, at_once=3)


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("pairing", ALL, ids=str)
def test_an_interactive_connection_outlives_a_stall_beside_it(outcomes, pairing, stall):
    result(result(outcomes[pairing])[stall])
