"""Command `konnectivity demo`: runs a server and an agent on loopback for a few seconds and removes all their files."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from konnectivity.client import Mode, connect

if TYPE_CHECKING:
    from konnectivity.testing.deployment import ConnectArguments, Deployment

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_PAGE = b"<!doctype html><title>node</title><p>Hello from a node the control plane cannot reach.</p>\n" * 100


def add_to(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "demo",
        help="run a server and an agent on loopback and fetch a page through them",
        description="Run a throwaway CA, a proxy server, an agent and a small web server on loopback, and fetch a page "
        "through each of the server's four frontends. All files and processes are removed.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and return 0 if every page arrived whole, else 1."""
    from konnectivity.testing.deployment import Deployment  # imported late: other commands start faster without it

    with tempfile.TemporaryDirectory(prefix="konnectivity-demo-") as directory:
        deployment = Deployment(Path(directory))
        try:
            server = deployment.start_server()
            print(f"server  process {server.pid}: agents on 127.0.0.1:{deployment.agent_port} (mutual TLS),")
            print(f"        kube-apiserver on 127.0.0.1:{deployment.server_port} (mutual TLS) and on a unix socket")
            agent = deployment.start_agent("--agent-id=node-1")
            print(f"agent   process {agent.pid}: dialled out to the server as node-1, holds one stream open")
            return uvloop.run(_fetch_all(deployment))
        except RuntimeError as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1
        finally:
            deployment.stop()


async def _fetch_all(deployment: Deployment) -> int:
    target = await asyncio.start_server(_serve_page, "127.0.0.1", 0)
    address = f"127.0.0.1:{target.sockets[0].getsockname()[1]}"
    print(f"node    a web server on {address}, which only the agent dials")
    whole = 0
    modes: tuple[Mode, ...] = ("http-connect", "grpc")
    frontends = [deployment.frontend(mode, unix) for unix in (True, False) for mode in modes]
    for frontend in frontends:
        started = time.perf_counter()
        page = await _fetch(frontend, address)
        took_ms = (time.perf_counter() - started) * 1000
        way = "unix socket" if frontend["address"].startswith("unix:") else "TCP + mTLS"
        verdict = "ok" if page == _PAGE else "BROKEN"
        whole += page == _PAGE
        print(
            f"fetch   {frontend['mode']:<12} over {way:<11} -> server -> node-1 -> {address}: "
            f"{len(page):,} bytes in {took_ms:.1f} ms  {verdict}"
        )
    target.close()
    print(f"{whole} of {len(frontends)} pages came through the tunnel whole")
    return 0 if whole == len(frontends) else 1


async def _fetch(frontend: ConnectArguments, address: str) -> bytes:
    async with connect(**frontend) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
        return answer.partition(b"\r\n\r\n")[2]


async def _serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(_PAGE) + _PAGE)
    writer.close()
