"""Test of a hundred hostile peers beside a hundred honest ones, which suffer nothing but a small delay."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment
from support import targets
from support.targets import listening

HOSTILE = HONEST = 100
ATTACK_S = 8.0
ECHO_S = 10.0  # maximum duration of an echo or a dial on a busy machine
MEMORY = 300 << 20  # maximum memory of the server in bytes
PREFIX = "konnectivity_network_proxy_server_"
GAUGES = ("http_connections", "established_connections", "pending_backend_dials", "buffered_bytes")


@pytest.fixture
def deployment(tmp_path):
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


def metrics(deployment):
    connection = http.client.HTTPConnection("127.0.0.1", deployment.health_port, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    pairs = (line.removeprefix(PREFIX).rpartition(" ") for line in lines if line.startswith(PREFIX))
    return {name: float(value) for name, _, value in pairs}


def hostile_peers(deployment):
    script = str(Path(__file__).with_name("hostile_peers.py"))
    place = (str(deployment.directory), str(deployment.agent_port), str(deployment.server_port))
    return subprocess.Popen(
        [sys.executable, script, str(HOSTILE), *place], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


class Honest:
    """Client that dials anew every few echoes until told to stop. `slowest`: seconds of its slowest dial or echo."""

    def __init__(self, tunnel, address, dials):
        self.tunnel, self.address, self.dials = tunnel, address, dials
        self.slowest = 0.0
        self.echoes = 0

    async def timed(self, work):
        start = time.monotonic()
        async with asyncio.timeout(ECHO_S):
            result = await work
        self.slowest = max(self.slowest, time.monotonic() - start)
        return result

    async def run(self, enough: asyncio.Event):
        reader, writer = await self.timed(self.tunnel.dial(self.address))
        while not enough.is_set():
            question = b"%d" % self.echoes
            writer.write(question)
            assert await self.timed(reader.readexactly(len(question))) == question
            self.echoes += 1
            if self.dials:
                writer.close()
                reader, writer = await self.timed(self.tunnel.dial(self.address))
            await asyncio.sleep(0.3)
        writer.close()


@pytest.mark.timeout(120)
async def test_the_honest_are_served(deployment):
    server = deployment.start_server("--proxy-strategies=destHost")
    for number in (1, 2):
        deployment.start_agent(f"--agent-id=agent-{number}", "--agent-identifiers=ipv4=127.0.0.1")
    enough = asyncio.Event()
    async with (
        listening(targets.echo) as address,
        connect(**deployment.frontend("http-connect", unix=True)) as plain,
        connect(**deployment.frontend("grpc", unix=True)) as shared,
    ):
        honest = [Honest((plain, shared)[n % 2], address, dials=n % 4 > 1) for n in range(HONEST)]
        crowd = hostile_peers(deployment)
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in honest:
                    tasks.create_task(each.run(enough))
                await asyncio.sleep(ATTACK_S)
                under_attack = await asyncio.to_thread(metrics, deployment)
                enough.set()
        finally:
            answer, _ = await asyncio.to_thread(crowd.communicate, b"")
    cut = json.loads(answer)
    found = {
        "memory": server.memory_bytes("VmHWM") >> 20,
        "slowest": max(each.slowest for each in honest),
        "echoes": sum(each.echoes for each in honest),
        "cut": cut,
        "reached": {name: value for name, value in under_attack.items() if name.startswith("limits_reached")},
    }
    print(found)
    assert min(each.echoes for each in honest) >= 1
    # Floods and resets may stay below their limits, since they are read in turns.
    assert {"header_bombs", "continuations"} <= cut.keys(), found
    assert server.memory_bytes("VmHWM") < MEMORY, found
    await back_at_zero(deployment)


async def back_at_zero(deployment):
    """Wait until the server's gauges show nothing open but the two agents."""
    end = time.monotonic() + 20
    while True:
        found = await asyncio.to_thread(metrics, deployment)
        left = {name: found[name] for name in GAUGES if found[name]}
        streams = {name: value for name, value in found.items() if name.startswith("grpc_connections")}
        agents = streams.pop('grpc_connections{service_method="Connect"}')
        if not left and agents == 2 and not any(streams.values()):
            return
        assert time.monotonic() < end, (left, agents, streams)
        await asyncio.sleep(0.1)
