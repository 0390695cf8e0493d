"""Tests of the agent inside the 30 MiB that published manifests grant it, in a real cgroup of version 1 or 2."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from konnectivity.client import connect
from support import targets
from support.delayed_line import DelayedLine
from support.kubernetes_api import KubernetesApi
from support.metrics_page import metrics
from support.targets import listening

LIMIT = 30 * 1024 * 1024
MIB = 1 << 20
ROOT = Path("/sys/fs/cgroup")


class Cgroup:
    """Memory cgroup that one test owns."""

    def __init__(self) -> None:
        self.version = 2 if (ROOT / "cgroup.controllers").exists() else 1
        self.path = (ROOT if self.version == 2 else ROOT / "memory") / f"konnectivity-test-{os.getpid()}"

    def create(self) -> None:
        if self.version == 2:
            with suppress(OSError):
                (ROOT / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        self.limit(LIMIT)

    def limit(self, limit: int) -> None:
        self.write("memory.max" if self.version == 2 else "memory.limit_in_bytes", str(limit))

    def write(self, name: str, value: str) -> None:
        (self.path / name).write_text(value)

    def peak(self) -> int:
        return int((self.path / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")).read_text())

    def charged(self) -> int:
        """Return the anonymous memory in bytes, which the kernel cannot reclaim; the page cache is left out."""
        fields = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return int(fields["anon" if self.version == 2 else "total_rss"])

    def kills(self) -> int:
        text = (self.path / ("memory.events" if self.version == 2 else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))

    def remove(self) -> None:
        with suppress(OSError):
            self.path.rmdir()


@pytest.fixture
def cgroup():
    group = Cgroup()
    try:
        group.create()
    except OSError as error:
        group.remove()
        pytest.skip(f"no memory cgroup can be made here ({error}): root and a writable /sys/fs/cgroup are needed")
    yield group
    group.remove()


async def load(deployment):
    """Open 100 connections, download 200 MB, and return the number of bytes downloaded."""
    async with (
        listening(targets.echo) as echo,
        listening(targets.source(200 * MIB)) as source,
        connect(**deployment.frontend("http-connect", True)) as tunnel,
    ):
        streams = [await tunnel.dial(echo) for _ in range(100)]
        for _, writer in streams:
            writer.write(bytes(1000))
        for reader, _ in streams:
            await reader.readexactly(1000)
        reader, writer = await tunnel.dial(source)
        received = 0
        while received < 200 * MIB and (data := await reader.read(MIB)):
            received += len(data)
        writer.close()
        for _, writer in streams:
            writer.close()
    return received


async def measure(deployment, cgroup, *flags):
    """Run the load through an agent in the cgroup, print the memory figures, and check that the agent still runs."""
    deployment.start_server()
    agent = deployment.start_agent(*flags, cgroup=cgroup.path)
    idle = cgroup.charged()
    received = await load(deployment)
    figures = {"at rest": idle, "after the load": cgroup.charged(), "charged at most": cgroup.peak()}
    print("\n" + ", ".join(f"{what} {size / MIB:.1f} MiB" for what, size in figures.items()))
    assert received == 200 * MIB
    assert cgroup.kills() == 0
    assert agent.returncode is None
    agent.stop()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("verbosity", [4, 8])
async def test_an_agent_with_100_connections_and_a_200_mb_transfer(fresh, cgroup, verbosity):
    await measure(fresh, cgroup, f"-v={verbosity}")


@pytest.mark.timeout(180)
async def test_an_agent_that_counts_leases_has_the_same_limit(fresh, cgroup, tmp_path, monkeypatch):
    with KubernetesApi(tmp_path / "api") as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "kubeconfig")))
        await measure(fresh, cgroup, "--count-server-leases")


SLEEPERS = 96
BULK = 4  # uploads that are fast at first and then stall
FAST = 12 * MIB  # bytes that the target of such an upload reads


async def reaches(agent, name, size):
    """Wait until the metric of the agent is at least `size`."""
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(metrics, agent.health_port))[name] < size:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_100_targets_that_stall_with_their_credit_cost_no_more_than_the_limit(fresh, cgroup):
    """Budgets follow the limit: the credit of all connections fits into it, and another connection is served."""
    fresh.start_server("-v=1")
    with DelayedLine(("127.0.0.1", fresh.agent_port), 0.02) as line:
        agent = fresh.start_agent("-v=1", cgroup=cgroup.path, port=line.port)
        async with (
            listening(targets.sleeper, receive_buffer=4096, segment=1400) as deaf,
            listening(targets.sleeper_after(FAST), receive_buffer=65536, segment=1400) as stalling,
            listening(targets.echo) as echo,
            connect(**fresh.frontend("http-connect", True)) as tunnel,
        ):
            writers = [(await tunnel.dial(address))[1] for address in [deaf] * SLEEPERS + [stalling] * BULK]
            reader, writer = await tunnel.dial(echo)
            for each in writers[SLEEPERS:]:
                each.write(bytes(FAST + 6 * MIB))
            await reaches(agent, "agent_window_growth_bytes", 256 * 1024)
            for each in writers[:SLEEPERS]:
                each.write(bytes(MIB))
            budget = (await asyncio.to_thread(metrics, agent.health_port))['agent_buffer_budget_bytes{scope="process"}']
            await reaches(agent, "agent_buffered_bytes", budget / 2)
            async with asyncio.timeout(10):
                for _ in range(20):
                    writer.write(bytes(1000))
                    await reader.readexactly(1000)
            held = (await asyncio.to_thread(metrics, agent.health_port))["agent_buffered_bytes"]
            print(f"\nheld {held / MIB:.1f} of {budget / MIB:.1f} MiB, charged {cgroup.charged() / MIB:.1f} MiB")
            assert held <= budget * 17 / 16
            assert cgroup.charged() < LIMIT
            assert cgroup.kills() == 0
            assert agent.returncode is None
            for each in (*writers, writer):
                each.transport.abort()
        agent.stop()
