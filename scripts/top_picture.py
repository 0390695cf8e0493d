"""Write docs/operate/pictures/top.svg: `konnectivity top` with three servers, one lost, agents, traffic and a stall."""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import uvloop
from rich.console import Console

from konnectivity.client import ClientTunnel, DialError, connect
from konnectivity.testing.deployment import Deployment, free_port
from konnectivity.tool.admin_client import AdminClient
from konnectivity.tool.top.board import Board
from konnectivity.tool.top.screen import frame
from konnectivity.tool.top.snapshots import Collector
from support import targets
from support.targets import listening

PICTURE = Path(__file__).parent.parent / "docs" / "operate" / "pictures" / "top.svg"
SECONDS = 12
WIDTH, HEIGHT = 150, 40
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # they would be fetched


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        site = Deployment(Path(directory))
        try:
            board = _watched(site)
        finally:
            site.stop()
    console = Console(
        record=True, file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True, color_system="truecolor"
    )
    console.print(frame(board, monotonic(), "stalled", (WIDTH, HEIGHT), "q quit, s sort, p pause"))
    picture = console.export_svg(title="konnectivity top")
    PICTURE.write_text(_FONTS.sub("", picture).replace("Fira Code,", ""))


def _watched(site: Deployment) -> Board:
    admins, ports = [site.admin_port, free_port(), free_port()], [site.agent_port, free_port(), free_port()]
    servers = []
    for number, (admin, port) in enumerate(zip(admins, ports, strict=True)):
        own = [f"--server-id=server-{'abc'[number]}", f"--admin-port={admin}", f"--agent-port={port}"]
        if number:
            own += [f"--health-port={free_port()}", f"--server-port={free_port()}", f"--uds-name={site.path(own[0])}"]
        servers.append(site.start_server(*own))
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    for number in range(1, 4):
        site.start_agent(f"--agent-id=node-{number}", f"--proxy-server-host={hosts}")
    board = Board()
    collector = Collector([f"127.0.0.1:{port}" for port in admins], AdminClient(2.0))
    over = threading.Event()
    traffic = threading.Thread(target=lambda: uvloop.run(_traffic(site, over)))
    traffic.start()
    try:
        for second in range(SECONDS):
            board.take(collector.ask(100, "-stalled_for"))
            sleep(1)
            if second == SECONDS - 4:
                servers[-1].stop()
    finally:
        over.set()
        traffic.join()
        collector.close()
    return board


async def _traffic(site: Deployment, over: threading.Event) -> None:
    frontend = site.frontend("grpc", unix=True)
    async with (
        listening(targets.source(1 << 32)) as endless,
        listening(targets.echo) as echo,
        connect(**frontend) as tunnel,
    ):
        await tunnel.dial(endless)  # nobody reads
        tasks = [asyncio.Task(_talk(tunnel, echo, 2000 * number)) for number in range(1, 9)]
        with suppress(DialError):
            await tunnel.dial("127.0.0.1:9")
        while not over.is_set():
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()


async def _talk(tunnel: ClientTunnel, address: str, size: int) -> None:
    reader, writer = await tunnel.dial(address)
    while True:
        writer.write(b"x" * size)
        await reader.readexactly(size)
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    main()
