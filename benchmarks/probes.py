"""Cost of probes in a server: its CPU time with and without them, for many agents whose targets answer.

    .venv/bin/python -m benchmarks.probes --agents 1000
    .venv/bin/python -m benchmarks.probes --agents 100 --interval 4s    # a quarter of the probes, sooner ready

The agents are the agent's own code, all of them in this one process, as is the target; the server is the real program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path

import uvloop

from benchmarks.storm import Crowd
from konnectivity.runtime import lifecycle, logs
from konnectivity.testing.deployment import Deployment
from konnectivity.tool import admin_client

SETTLE_S = 15.0  # until handshakes in a burst are over, and the agents are at rest


async def share(deployment: Deployment, count: int, seconds: float, *probes: str) -> dict[str, float]:
    """Return the CPU time of a server with agents at rest, in percent of a core, and its probes per second."""
    server = await asyncio.to_thread(deployment.start_server, *probes)
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(deployment, count, tasks)
        await crowd.start_all()
        await asyncio.sleep(SETTLE_S)
        while (before := await probes_of(deployment)) and sum(before.values()) < count:  # first results cost more
            await asyncio.sleep(2.0)
        before_s = server.cpu_seconds()
        await asyncio.sleep(seconds)
        used_s = server.cpu_seconds() - before_s
        after = await probes_of(deployment)
        crowd.stop()
    await asyncio.to_thread(server.stop)
    rates = {f"{name}_per_s": round((after[name] - before.get(name, 0)) / seconds, 1) for name in after}
    return {"cpu_percent": round(100 * used_s / seconds, 2), **rates}


async def probes_of(deployment: Deployment) -> dict[str, float]:
    """Return the number of probes of the running server, by result."""
    answer = await asyncio.to_thread(admin_client.AdminClient().get, f"127.0.0.1:{deployment.admin_port}", "/metrics")
    lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if "_path_probes_total{" in line]
    return {name.partition("result=")[2].strip('"}'): float(value) for name, _, value in lines}


async def measure(
    deployment: Deployment, count: int, seconds: float, options: list[str]
) -> dict[str, dict[str, float]]:
    """Return the shares of a server without probes, with TCP probes and with TLS probes; `options` are the server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    found: dict[str, dict[str, float]] = {}
    for kind, tls in (("none", None), ("tcp", None), ("tls", context)):
        target = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=tls)
        port = target.sockets[0].getsockname()[1]
        probes = [] if kind == "none" else [f"--probe=target=127.0.0.1:{port},{kind}", *options]
        found[kind] = shares = await share(deployment, count, seconds, *probes)
        target.close()
        if rate := shares.get("passed_per_s"):
            shares["ms_per_probe"] = round(10 * (shares["cpu_percent"] - found["none"]["cpu_percent"]) / rate, 2)
    return found


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await reader.read(1)
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--interval", default="15s", help="Value of --probe-interval.")
    parser.add_argument("--rate", type=int, default=100, help="Value of --probe-rate.")
    arguments = parser.parse_args()
    options = [f"--probe-interval={arguments.interval}", f"--probe-rate={arguments.rate}"]
    lifecycle.raise_file_limit()
    logs.configure(0, destination=logs.LogDestination(stderr_from=None))
    with tempfile.TemporaryDirectory() as directory:
        deployment = Deployment(Path(directory))
        try:
            found = uvloop.run(measure(deployment, arguments.agents, arguments.seconds, options))
            print(json.dumps(found, indent=2))
        finally:
            deployment.stop()


if __name__ == "__main__":
    main()
