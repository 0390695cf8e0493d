"""Tests of faults on the line between server and agent while clients dial and transfer through it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from fault_site import Dialler, Talkers, get, metrics, until, until_echo

from konnectivity.client import connect
from support import targets
from support.faulty_line import FaultyLine
from support.targets import listening

MIB = 1 << 20
HOLD_S = 5.0
GIVEN_UP_S = 30.0  # 1 s of silence, 20 s of ping timeout, and a margin for a busy machine


@pytest.fixture
def line(site):
    with FaultyLine(("127.0.0.1", site.agent_port)) as line:
        yield line


async def broken(site, outcome, line, breaks):
    """Break the line in each of the given ways under open connections; record detection, recovery and losses."""
    site.server()
    site.agent(port=line.port)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        for each in breaks:
            async with Talkers(tunnel, address) as talkers:
                since = time.monotonic()
                each()
                await talkers.all_broken(10)
                outcome.detected(max(talkers.broken) - since)
                outcome.recovered(await until_echo(tunnel, address, 20))
                outcome.failed(len(talkers.broken), talkers.count)
                outcome.lost(talkers.wrong)
    await site.at_rest()


async def test_it_is_cut(site, line, programs, outcome):
    await broken(site, outcome, line, [lambda: line.cut("reset"), lambda: line.cut("end")])


async def test_a_bit_of_it_flips(site, line, programs, outcome):
    await broken(site, outcome, line, [lambda: line.garble("out"), lambda: line.garble("back")])


async def test_it_holds_everything_and_heals(site, line, programs, outcome):
    site.server()
    site.agent("--agent-id=held", port=line.port)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(targets.echo))
        tunnel = await stack.enter_async_context(connect(**site.frontend("http-connect", True)))
        talkers = await stack.enter_async_context(Talkers(tunnel, address))  # the only agent so far is behind the line
        await asyncio.to_thread(site.agent, "--agent-id=well")
        await until(lambda: site.backends == 2, 10)
        async with Dialler(tunnel, address) as dialler:
            held = time.monotonic()
            line.hold()
            await asyncio.sleep(HOLD_S)
            line.heal()
            healed = time.monotonic()
            await talkers.go_on(15)
            outcome.recovered(time.monotonic() - healed)
        outcome.detected(dialler.suffered_until(held))
        outcome.lost(talkers.wrong)
        outcome.failed(len(dialler.failed) + len(talkers.broken), len(dialler.attempts) + talkers.count)
    await site.at_rest()


async def test_it_swallows_everything(site, programs, outcome):
    """Three lines lose all bytes in one direction or in both; a fourth agent on a healthy line serves the dials."""
    often = ("--heartbeat-interval=1s",) if site.ours else ()
    directions = ("out", "back", "both")
    site.server(*often)
    async with AsyncExitStack() as stack:
        lines = [stack.enter_context(FaultyLine(("127.0.0.1", site.agent_port))) for _ in directions]
        for direction, line in zip(directions, lines, strict=True):
            await asyncio.to_thread(site.agent, f"--agent-id={direction}", *often, port=line.port)
        address = await stack.enter_async_context(listening(targets.echo))
        tunnel = await stack.enter_async_context(connect(**site.frontend("http-connect", True)))
        talkers = await stack.enter_async_context(Talkers(tunnel, address, 12))
        await asyncio.to_thread(site.agent, "--agent-id=well", *often)
        await until(lambda: site.backends == 4, 10)
        async with Dialler(tunnel, address, 0.1) as dialler:
            since = time.monotonic()
            for direction, line in zip(directions, lines, strict=True):
                line.lose(direction)
            while len(talkers.broken) < talkers.count and time.monotonic() < since + GIVEN_UP_S:
                await asyncio.sleep(0.1)
            if site.ours:
                assert len(talkers.broken) == talkers.count, "a connection over a dead line hangs"
                assert max(talkers.broken) - since < GIVEN_UP_S
        outcome.detected(dialler.suffered_until(since))
        outcome.failed(len(dialler.failed), len(dialler.attempts))
        outcome.lost(talkers.wrong)
        healed = time.monotonic()
        for line in lines:
            line.heal()
        await until(lambda: site.backends == 4, 40)
        await until_echo(tunnel, address, 10)
        outcome.recovered(time.monotonic() - healed)
    await site.at_rest()


async def test_it_refuses_and_lets_nobody_through(site, line, programs, outcome):
    site.server()
    agent = site.agent(port=line.port)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until_echo(tunnel, address, 10)
        since = time.monotonic()
        line.refuse()
        line.cut()
        await until(lambda: get(agent.health_port, "/readyz")[0] != 200, 10)
        outcome.detected(time.monotonic() - since)
        await asyncio.sleep(3)
        line.heal()
        outcome.recovered(await until_echo(tunnel, address, 30))
    await site.at_rest()


async def test_it_is_narrow_and_long(site, line, programs, outcome):
    """Bulk in both directions and dials share a line of 1 MiB/s with a round trip of 200 ms; both change meanwhile."""
    site.server()
    site.agent(port=line.port)
    async with (
        listening(targets.source(2 * MIB)) as bulk,
        listening(targets.digest) as digest,
        listening(targets.echo) as address,
        connect(**site.frontend("http-connect", True)) as tunnel,
    ):

        async def download():
            reader, writer = await tunnel.dial(bulk)
            received = await reader.read(-1)
            writer.close()
            return received == b"".join(targets.pattern(2 * MIB))

        async def upload():
            reader, writer = await tunnel.dial(digest)
            for piece in targets.pattern(2 * MIB):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            answer = (await reader.read()).decode().strip()
            writer.close()
            return answer == targets.pattern_digest(2 * MIB)

        async with Dialler(tunnel, address, 0.2) as dialler:
            line.throttle(MIB)
            line.delay(0.1)
            work = asyncio.gather(download(), *([upload()] if site.ours else []))  # the reference has no half-close
            await asyncio.sleep(2)
            line.delay(0.01)
            whole = await work
        outcome.lost(whole.count(False))
        outcome.failed(len(dialler.failed), len(dialler.attempts))
        line.heal()
        outcome.recovered(await until_echo(tunnel, address, 5))
        if site.ours:
            assert max(each.took for each in dialler.attempts) < 5
            assert metrics(site.health_port)["server_suspect_backends"] == 0, "narrow is not dead"
    await site.at_rest()
