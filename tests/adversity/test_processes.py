"""Tests of programs that are killed, and of programs that freeze, while clients dial and transfer through them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fault_site import Dialler, Talkers, get, metrics, until, until_echo

from konnectivity.client import connect
from support import targets
from support.targets import listening

FREEZE_S = 10.0
NAP_S = 1.5


async def test_an_agent_of_two_is_killed(site, programs, outcome):
    site.server()
    victim, _ = site.agent("--agent-id=victim"), site.agent("--agent-id=other")
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until(lambda: site.backends == 2, 10)
        async with Dialler(tunnel, address) as dialler:
            await asyncio.sleep(1)
            killed = time.monotonic()
            victim.send(signal.SIGKILL)
            outcome.detected(await until(lambda: site.backends == 1, 10))
            await asyncio.sleep(1)
            started = time.monotonic()
            await asyncio.to_thread(site.agent, "--agent-id=victim")
            await until(lambda: site.backends == 2, 10)
            outcome.recovered(time.monotonic() - started)
        assert all(each.began < killed for each in dialler.failed), dialler.failed  # begun before the kill
        outcome.failed(len(dialler.failed), len(dialler.attempts))
        assert dialler.suffered_until(killed) < 1
    await site.at_rest()


async def test_a_server_is_killed(site, programs, outcome):
    server = site.server()
    agent = site.agent()
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until_echo(tunnel, address, 10)
        server.send(signal.SIGKILL)
        outcome.detected(await until(lambda: get(agent.health_port, "/readyz")[0] != 200, 10))
        server.wait()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(site.server)
        outcome.recovered(await until_echo(tunnel, address, 30))
    await site.at_rest()


async def test_an_agent_of_two_is_frozen(site, programs, outcome):
    """Freezing one of two agents affects clients for a limited time and fails a limited number of dials."""
    site.server()
    frozen, _ = site.agent("--agent-id=frozen"), site.agent("--agent-id=well")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(targets.echo))
        modes = ["http-connect", "grpc"] if site.ours else ["http-connect"]
        tunnels = [await stack.enter_async_context(connect(**site.frontend(mode, True))) for mode in modes]
        await until(lambda: site.backends == 2, 10)
        async with AsyncExitStack() as busy:
            diallers = [await busy.enter_async_context(Dialler(tunnel, address, 0.1)) for tunnel in tunnels]
            await asyncio.sleep(1)
            since = time.monotonic()
            frozen.send(signal.SIGSTOP)
            if site.ours:  # the metric shows the frozen agent, and the server stays ready
                await until(lambda: metrics(site.health_port)["server_suspect_backends"] == 1, 10)
                assert get(site.health_port, "/readyz") == (200, "ok")
            await asyncio.sleep(since + FREEZE_S - time.monotonic())
        attempts = [each for dialler in diallers for each in dialler.attempts]
        outcome.detected(max(dialler.suffered_until(since) for dialler in diallers))
        outcome.failed(sum(each.error is not None for each in attempts), len(attempts))
        healed = time.monotonic()
        frozen.send(signal.SIGCONT)
        if site.ours:
            assert max(each.took for each in attempts) < 6
            assert metrics(site.health_port)["server_dials_moved_total"] > 0
            await until(lambda: metrics(site.health_port)["server_suspect_backends"] == 0, 10)
            outcome.recovered(time.monotonic() - healed)
        async with Dialler(tunnels[0], address) as dialler:
            await asyncio.sleep(1)
        assert not site.ours or (dialler.failed == [] and dialler.suffered_until(healed) < 1)
    await site.at_rest()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_short_freeze(site, outcome, workers):
    """Connections survive a short pause of each program and of all programs, as in a virtual machine's migration."""
    server, agent = site.server(f"--workers={workers}"), site.agent()
    await asyncio.to_thread(agent.wait_for, "Connected to server", workers)
    pids = [[server.pid], [agent.pid], [server.pid, agent.pid]]
    if workers > 1:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        pids = [[int(children[0])], [server.pid]]  # a worker and the supervisor
    async with (
        listening(targets.echo) as address,
        connect(**site.frontend("grpc", True)) as tunnel,
        connect(**site.frontend("http-connect", True)) as dialled,
        Talkers(tunnel, address) as talkers,
        Dialler(dialled, address) as dialler,
    ):
        for group in pids:
            for pid in group:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(NAP_S)
            for pid in group:
                os.kill(pid, signal.SIGCONT)
            outcome.recovered(await talkers.go_on(5))
    outcome.lost(talkers.wrong)
    outcome.failed(len(dialler.failed) + len(talkers.broken), len(dialler.attempts) + talkers.count)
    await site.at_rest()
