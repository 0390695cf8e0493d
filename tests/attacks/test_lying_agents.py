"""Tests of agents that answer dials with lies: a dial meets few of them, and honest agents are preferred afterwards."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from attack_site import measured

from konnectivity import wire
from konnectivity.client import DialError, connect
from konnectivity.errors import NO_AGENT, NO_DESCRIPTORS, NO_MEMORY, TOO_MANY_DIALS, DialFailure
from support import grpc_peer, targets

LIARS = 16
DIALS = 24


@asynccontextmanager
async def liars(site, answer):
    """Connect agents that answer each dial with `answer(random)`; yield the list of the dials they received."""
    heard: list[str] = []

    async def lie(call):
        while True:
            packet = await call.hear(timeout=1000)
            if packet.type == wire.packet_types.DIAL_REQ:
                heard.append(packet.dialRequest.address)
                await call.say(answer(packet.dialRequest.random))

    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(grpc_peer.agent(site, f"liar-{n}")) for n in range(LIARS)]
        tasks = [asyncio.create_task(lie(call)) for call in calls]
        try:
            yield heard
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def dials(site, heard):
    """Dial an echo target many times; return for each dial the number of lies it met and its error."""
    found: list[tuple[int, DialError | None]] = []
    async with (
        targets.listening(targets.echo) as address,
        connect(**site.frontend("grpc", unix=True)) as tunnel,
    ):
        for _ in range(DIALS):
            before, failure = len(heard), None
            try:
                _, writer = await tunnel.dial(address)
                writer.transport.abort()
            except DialError as error:
                failure = error
            found.append((len(heard) - before, failure))
    return found


@pytest.mark.parametrize(
    "answer",
    [
        lambda random: wire.dial_rsp(random, error=NO_MEMORY),
        lambda random: wire.dial_rsp(random, error=TOO_MANY_DIALS),
        lambda random: wire.dial_rsp(random, error=f"dial tcp 10.0.0.1:80: {NO_DESCRIPTORS}"),
        wire.close_dial,
    ],
    ids=["memory", "dials", "descriptors", "closed"],
)
async def test_agents_that_decline_every_dial(site, answer):
    server = site.server()
    site.agent()
    async with liars(site, answer) as heard, measured(server) as cost:
        found = await dials(site, heard)
    assert max(lies for lies, _ in found) <= 4
    assert len(heard) <= 2 * LIARS  # once per agent, or twice on a slow machine, where the first pauses run out
    assert sum(failure is not None for _, failure in found) <= len(heard) // 4
    assert cost.cpu_s < 5.0


async def test_agents_that_speak_for_others(site):
    """The error `No agent available` from an agent counts as that agent's failure and not as the server's."""
    site.server()
    site.agent()
    async with liars(site, lambda random: wire.dial_rsp(random, error=NO_AGENT)) as heard:
        found = await dials(site, heard)
    assert max(lies for lies, _ in found) <= 4
    assert len(heard) <= 2 * LIARS
    failures = [failure for _, failure in found if failure is not None]
    assert len(failures) <= len(heard) // 4
    assert all(failure.failure is DialFailure.ENDPOINT for failure in failures)
    assert all(str(failure) == f"the agent answered '{NO_AGENT}'" for failure in failures)


async def test_an_agent_that_fails_at_once_does_not_draw_all_dials(site):
    """An agent that answers at once with an error looks fast and idle, and still receives about its share."""
    site.server()
    site.agent()
    heard = 0
    async with grpc_peer.agent(site, "liar") as call, targets.listening(targets.echo) as address:

        async def answer():
            nonlocal heard
            while True:
                packet = await call.hear(timeout=1000)
                if packet.type == wire.packet_types.DIAL_REQ:
                    heard += 1
                    await call.say(
                        wire.dial_rsp(packet.dialRequest.random, error="dial tcp 10.0.0.1:80: connect: refused")
                    )

        task = asyncio.create_task(answer())
        async with connect(**site.frontend("grpc", unix=True)) as tunnel:
            for _ in range(100):
                try:
                    _, writer = await tunnel.dial(address)
                    writer.transport.abort()
                except DialError:
                    continue
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert heard < 60
