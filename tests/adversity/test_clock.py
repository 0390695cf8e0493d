"""Tests of a time of day, of the server or of an agent, that jumps by an hour or more and is corrected later.

libfaketime stands between the program and its clock (Debian: faketime). The monotonic clock is unaffected, as in a
machine whose time of day is set.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time

import pytest
from fault_site import Dialler, Talkers, get, until, until_echo

from konnectivity.client import connect
from support import targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

SEEN_S = 1.1  # libfaketime reads its file once a second


class Clock:
    """Adjustable time of day of one program."""

    def __init__(self, path, library):
        self._path = path
        self.set("+0")
        self.within = [
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={path}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]

    def set(self, offset):
        new = self._path.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._path)


@pytest.fixture
def clocks(tmp_path):
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed (apt-get install faketime)")
    asking = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    printed = subprocess.run(asking, check=True, capture_output=True, text=True).stdout
    library = printed.strip().replace("libfaketime.so", "libfaketimeMT.so")  # the variant for programs with threads
    return Clock(tmp_path / "server-time", library), Clock(tmp_path / "agent-time", library)


async def test_an_hour_forth_and_back(site, outcome, clocks):
    """With one-day certificates and 30 s leases, connections stay; the agent's count of servers may change."""
    server_clock, agent_clock = clocks
    with KubernetesApi(site.directory / "api") as api:
        kubeconfig = f"--kubeconfig={api.kubeconfig(site.directory / 'kubeconfig')}"
        server = site.start_server(kubeconfig, "--enable-lease-controller", within=server_clock.within)
        await asyncio.to_thread(server.wait_for, "Lease published")
        agent = site.start_agent(kubeconfig, "--count-server-leases", within=agent_clock.within)
        async with (
            listening(targets.echo) as address,
            connect(**site.frontend("http-connect", True)) as tunnel,
            Talkers(tunnel, address) as talkers,
        ):
            async with Dialler(tunnel, address, 0.1) as dialler:
                for server_time, agent_time in [("+1h", "+0"), ("+0", "+1h"), ("-1h", "-1h"), ("+1h", "-1h")]:
                    server_clock.set(server_time)
                    agent_clock.set(agent_time)
                    await asyncio.sleep(SEEN_S)
                    since = time.monotonic()
                    await talkers.go_on(5)
                    await until_echo(tunnel, address, 5)
                    outcome.recovered(time.monotonic() - since)
            # Connect anew while the two clocks differ.
            second = await asyncio.to_thread(site.start_agent, "--agent-id=second", within=agent_clock.within)
            assert get(second.health_port, "/readyz")[0] == 200
        outcome.lost(talkers.wrong)
        outcome.failed(len(dialler.failed) + len(talkers.broken), len(dialler.attempts) + talkers.count)
        assert "Server connection ended" not in agent.log
        assert "Traceback" not in server.log + agent.log
    await site.at_rest()


async def test_a_jump_over_the_end_of_the_certificates(site, outcome, clocks):
    """After a jump of two days connections stay; new ones are refused with the reason until the clock is corrected."""
    _, agent_clock = clocks
    server = site.start_server()
    agent = site.start_agent(within=agent_clock.within)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        async with Talkers(tunnel, address) as talkers:
            agent_clock.set("+2d")
            await asyncio.sleep(SEEN_S)
            await talkers.go_on(5)
            await until_echo(tunnel, address, 5)
            outcome.failed(len(talkers.broken), talkers.count)
        server.stop()
        site.start_server()
        since = time.monotonic()
        await asyncio.to_thread(agent.wait_for, "the server's certificate is not accepted: certificate has expired")
        outcome.detected(time.monotonic() - since)
        agent_clock.set("+0")
        outcome.recovered(await until(lambda: get(site.health_port, "/readyz")[0] == 200, 15))
        await until_echo(tunnel, address, 5)
    await site.at_rest()
