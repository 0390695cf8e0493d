"""Tests of hundreds of names with silent name servers: dials of the same agent to other names still succeed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from contextlib import suppress

import pytest
from attack_site import MIB, measured

from konnectivity.client import DialError, connect
from konnectivity_agent import resolver
from konnectivity_agent.dial_queue import MAX_RUNNING
from support import targets
from support.name_server import NameServer
from support.targets import listening

CLIENTS = 100  # clients that dial one silent name after the other
ATTACK_S = 8.0
THREADS = resolver.FIRST_THREADS + resolver.PROMPT_THREADS + resolver.SLOW_THREADS
SLOWEST_S = 1.0


@pytest.fixture
def names(tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.fail("a mount namespace cannot be made here: root is needed")
    with NameServer(tmp_path) as names:
        names.zone.addresses |= {"fast.test": "127.0.0.1"} | {f"new-{n}.test": "127.0.0.1" for n in range(1000)}
        names.zone.silent_below = ".silent.test"
        yield names


async def test_more_silent_names_than_may_connect_delay_no_dial_of_their_server(site, names):
    """Dials that wait for a name server take no place among the attempts to connect."""
    site.server()
    agent = site.start_agent(within=names.within)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        port = address.rpartition(":")[2]
        _, writer = await tunnel.dial(f"fast.test:{port}")
        writer.close()
        silent = [asyncio.create_task(tunnel.dial(f"n{n}.silent.test:{port}")) for n in range(2 * MAX_RUNNING)]
        await asyncio.sleep(1)
        took = []
        for number in range(8):
            for host in ("127.0.0.1", f"new-{number}.test"):
                began = time.monotonic()
                _, writer = await tunnel.dial(f"{host}:{port}")
                took.append(time.monotonic() - began)
                writer.close()
            await asyncio.sleep(0.2)
        for each in silent:
            each.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
    assert max(took) < SLOWEST_S, took
    assert agent.returncode is None


@pytest.mark.parametrize("suffix", ["silent.test", "{}.silent.test"], ids=["one zone", "a zone for each client"])
async def test_silent_names_hold_up_no_others(site, names, suffix):
    site.server()
    agent = site.start_agent(within=names.within)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        port = address.rpartition(":")[2]

        async def dial_silent_names(client: int) -> None:
            for number in range(1000):
                with suppress(DialError):
                    await tunnel.dial(f"n{number}.{suffix.format(client)}:{port}")

        _, writer = await tunnel.dial(f"fast.test:{port}")
        writer.close()
        took, threads = [], []
        async with measured(agent) as cost:
            attack = [asyncio.create_task(dial_silent_names(client)) for client in range(CLIENTS)]
            await asyncio.sleep(0.5)
            end, number = time.monotonic() + ATTACK_S, 0
            while time.monotonic() < end:
                for name in ("fast.test", f"new-{number}.test"):
                    began = time.monotonic()
                    _, writer = await tunnel.dial(f"{name}:{port}")
                    took.append(time.monotonic() - began)
                    writer.close()
                number += 1
                threads.append(len(os.listdir(f"/proc/{agent.pid}/task")))
                await asyncio.sleep(0.2)
            for each in attack:
                each.cancel()
            await asyncio.gather(*attack, return_exceptions=True)
    assert max(took) < SLOWEST_S, sorted(took)[-5:]
    assert max(threads) <= THREADS + 10
    assert cost.memory_growth < 16 * MIB
    assert cost.cpu_s < ATTACK_S / 2
