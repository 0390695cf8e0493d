"""Cost of probes in a server: its CPU time with and without them, for many agents whose targets answer.

    .venv/bin/python -m benchmarks.probes --agents 1000

The agents are the agent's own code, all of them in this one process, as is the target; the server is the real program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import tempfile
from pathlib import Path

import uvloop

from benchmarks.storm import Crowd
from konnectivity.runtime import lifecycle, logs
from konnectivity.testing.deployment import Deployment

SETTLE_S = 15.0  # until every path was probed, and handshakes in a burst are over


async def share(deployment: Deployment, count: int, seconds: float, *probes: str) -> float:
    """Return the CPU time of a server with agents at rest, in percent of a core."""
    server = await asyncio.to_thread(deployment.start_server, *probes)
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(deployment, count, tasks)
        await crowd.start_all()
        await asyncio.sleep(SETTLE_S)
        before_s = server.cpu_seconds()
        await asyncio.sleep(seconds)
        used_s = server.cpu_seconds() - before_s
        crowd.stop()
    await asyncio.to_thread(server.stop)
    return 100 * used_s / seconds


async def measure(deployment: Deployment, count: int, seconds: float) -> dict[str, float]:
    """Return the CPU shares of a server without probes, with TCP probes and with TLS probes, in percent of a core."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    found: dict[str, float] = {}
    for kind, tls in (("none", None), ("tcp", None), ("tls", context)):
        target = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=tls)
        port = target.sockets[0].getsockname()[1]
        probes = [] if kind == "none" else [f"--probe=target=127.0.0.1:{port},{kind}"]
        found[kind] = round(await share(deployment, count, seconds, *probes), 2)
        target.close()
    return found


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read(1)
    except OSError:
        pass
    finally:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    lifecycle.raise_file_limit()
    logs.configure(0, destination=logs.LogDestination(stderr_from=None))
    with tempfile.TemporaryDirectory() as directory:
        deployment = Deployment(Path(directory))
        try:
            print(json.dumps(uvloop.run(measure(deployment, arguments.agents, arguments.seconds)), indent=2))
        finally:
            deployment.stop()


if __name__ == "__main__":
    main()
