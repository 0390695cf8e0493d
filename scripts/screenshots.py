"""Maker of the pictures in docs/operate/dashboard.md: Chromium, a server with agents, traffic and some faults.

.venv/bin/python scripts/screenshots.py [SECONDS]    how long the traffic goes on before (300: the plots are full)
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
from pathlib import Path

from konnectivity.client import ClientTunnel, DialError, connect
from konnectivity.testing.deployment import Deployment
from support.browser import Browser

IMAGES = Path(__file__).parent.parent / "docs" / "operate" / "pictures"
NODES = 6
KUBELET = 10250


class Kubelet:
    """Target that answers a line with a number of bytes, or never if `silent`."""

    def __init__(self) -> None:
        self._serving: set[asyncio.Task[None] | None] = set()  # nobody else keeps a task that waits for ever

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                if line == b"silent\n":
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.Event().wait()
                writer.write(bytes(int(line)))
                await writer.drain()
        writer.close()


async def chat(tunnel: ClientTunnel, node: int, dice: random.Random) -> None:
    """Open connections now and then, as `kubectl logs -f`, `exec` and metrics do."""
    while True:
        with contextlib.suppress(DialError, ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await tunnel.dial(f"127.0.{node}.1:{KUBELET}")
            for _ in range(dice.randrange(5, 200)):
                size = int(dice.paretovariate(1.2) * 4000) % 2_000_000
                writer.write(b"%d\n" % size)
                await reader.readexactly(size)
                await asyncio.sleep(dice.expovariate(2))
            writer.close()
        await asyncio.sleep(1)


async def fail(tunnel: ClientTunnel, address: str, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.expovariate(1 / 40))
        with contextlib.suppress(DialError):
            await tunnel.dial(address)


async def stall(tunnel: ClientTunnel) -> list[asyncio.StreamWriter]:
    """Open a client that does not read, and a connection to a destination that does not."""
    _, idle = await tunnel.dial(f"127.0.2.1:{KUBELET}")
    idle.write(b"50000000\n")
    idle.transport.pause_reading()  # type: ignore[attr-defined]
    _, busy = await tunnel.dial(f"127.0.4.1:{KUBELET}")
    busy.write(b"silent\n" + bytes(20_000_000))
    return [idle, busy]


async def main(seconds: float) -> None:
    dice = random.Random(8)
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        deployment = Deployment(Path(directory))
        stack.callback(deployment.stop)
        deployment.start_server("--server-id=konnectivity-server-0", "--proxy-strategies=destHost,default")
        kubelet = Kubelet()
        for node in range(1, NODES + 1):
            server = await asyncio.start_server(kubelet.serve, f"127.0.{node}.1", KUBELET)
            stack.callback(server.close)
            identifiers = f"ipv4=127.0.{node}.1&host=worker-{node}"
            deployment.start_agent(f"--agent-id=worker-{node}", f"--agent-identifiers={identifiers}")
        tunnel = await stack.enter_async_context(connect(**deployment.frontend("http-connect", unix=False)))
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(chat(tunnel, 1 + number % NODES, dice)) for number in range(22)]
            work += [tasks.create_task(fail(tunnel, f"127.0.3.1:{port}", dice)) for port in (9443, 8443)]
            await asyncio.sleep(0.6 * seconds)
            writers = await stall(tunnel)
            await asyncio.sleep(0.3 * seconds)
            deployment.processes[5].stop()
            await asyncio.sleep(0.1 * seconds)
            await asyncio.to_thread(take, deployment.admin_port)
            for each in work:
                each.cancel()
        for writer in writers:
            writer.transport.abort()


def take(port: int) -> None:
    IMAGES.mkdir(exist_ok=True)
    with Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/#connections")
        browser.size(1280, 860)
        browser.picture(IMAGES / "dashboard-light.png")
        browser.find("#theme").click()
        browser.find("#tab-agents").click()
        browser.picture(IMAGES / "dashboard-dark.png")
        browser.find("#theme").click()
        browser.find("#tab-failures").click()
        browser.size(390, 1160, phone=True)
        browser.picture(IMAGES / "dashboard-phone.png")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0))
