"""Test of a tenant that stalls connections, floods dials and floods the log beside a tenant whose echoes stay quick."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from konnectivity.client import connect
from support.forward_proxy_server import ForwardProxy
from support.targets import echo, listening
from support.tenant_site import TenantSite

DIALS_PER_S = os.environ.get("DIALS_PER_S", "200")  # 0: as many as the server answers; only on an idle machine
ROUNDS = 3  # of measurements without noise, and with noise
ROUND_S = 0.8
MOST = 5.0  # times that the 99th percentile may be what it is without noise, on a machine that runs other tests ...
SPARE_S = 0.05  # ... and seconds that it may be longer in any case


class Source:
    """Target that sends without end, and counts its bytes."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            self.sent += 64 * 1024

    async def stalled(self) -> None:
        """Wait until nobody takes anything any more."""
        before = -1
        while before < self.sent:
            before = self.sent
            await asyncio.sleep(0.2)


async def p99_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Return the 99th percentile of the seconds that an echo takes."""
    taken = []
    end = time.monotonic() + ROUND_S
    while (began := time.monotonic()) < end:
        writer.write(bytes(64))
        await reader.readexactly(64)
        taken.append(time.monotonic() - began)
        await asyncio.sleep(0.001)
    return statistics.quantiles(taken, n=100)[98]


@contextmanager
def noise_of(site: TenantSite, source: str) -> Iterator[None]:
    """Let a tenant be noisy for the length of the block, from when its connections are stalled."""
    script, one = str(Path(__file__).with_name("noisy_tenant.py")), site.deployment
    place = (str(one.directory), str(one.server_port), str(one.agent_port), site.name_of("noisy"), source, DIALS_PER_S)
    with subprocess.Popen(["nice", sys.executable, script, *place], stdout=subprocess.PIPE) as noise:
        assert noise.stdout is not None
        try:
            assert noise.stdout.readline() == b"noisy\n"
            yield
            assert noise.poll() is None, "the noise ended early"
        finally:
            noise.kill()


async def test_a_noisy_tenant_delays_no_other(tmp_path):
    site = TenantSite(tmp_path)
    endless = Source()
    names = ("quiet", "noisy")
    for name in names:
        site.add(name, "connection-window-max: 64Ki")  # so that the connections stall soon
    with ForwardProxy({site.name_of(name): "127.0.0.1" for name in names}) as proxy:
        try:
            await asyncio.to_thread(site.start_server)
            for name in names:
                await asyncio.to_thread(site.start_agent, proxy, name)
            async with (
                listening(echo) as address,
                listening(endless.send) as source,
                connect(**site.frontend("quiet")) as quiet,
            ):
                reader, writer = await quiet.dial(address)
                await p99_s(reader, writer)
                alone = [await p99_s(reader, writer) for _ in range(ROUNDS)]
                noise = noise_of(site, source)
                await asyncio.to_thread(noise.__enter__)
                with ExitStack() as stack:
                    stack.push(noise)
                    await endless.stalled()
                    beside = [await p99_s(reader, writer) for _ in range(ROUNDS)]
                writer.close()
                await writer.wait_closed()
        finally:
            await asyncio.to_thread(site.deployment.stop)
    without, with_noise = statistics.median(alone), statistics.median(beside)
    print(f"p99 of an echo: {1000 * without:.2f} ms alone, {1000 * with_noise:.2f} ms beside a noisy tenant")
    assert with_noise < MOST * without + SPARE_S
