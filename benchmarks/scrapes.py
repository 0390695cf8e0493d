"""Prometheus through the forward proxy: 1,000 targets, each scraped every 30 s, and the number of failed scrapes.

    .venv/bin/python -m benchmarks.scrapes                # ten minutes; --minutes 1 for a look
    .venv/bin/python -m benchmarks.scrapes --inside       # the forward proxy of the server, without a sidecar

Prometheus is unmodified: `proxy_url` names the proxy, by HTTP and by SOCKS5, for http and https targets in equal parts.
Every target has an address of its own on loopback. The exit code is 1 if a scrape failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import uvloop
import yaml

from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port

INTERVAL_S = 30
PORTS = {"http": 9100, "https": 9101}
PAGE = b"# TYPE target_up gauge\ntarget_up 1\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
DIRECT = build_opener(ProxyHandler({}))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of a connection with the page."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
    writer.close()


def addresses_of(scheme: str, count: int) -> list[str]:
    """Return the addresses of the targets of a scheme."""
    first = 1 if scheme == "http" else 101
    return [f"127.{first + number // 250}.0.{number % 250 + 1}" for number in range(count)]


async def open_targets(count: int, context: ssl.SSLContext) -> list[asyncio.Server]:
    """Open the targets, half of them with TLS."""
    return [
        await asyncio.start_server(serve, each, PORTS[scheme], ssl=context if scheme == "https" else None)
        for scheme in PORTS
        for each in addresses_of(scheme, count // 2)
    ]


def configuration(count: int, proxy: str, ca: str) -> str:
    """Return the configuration of Prometheus: 3 of 10 targets by SOCKS5, the others by the HTTP proxy."""
    jobs = []
    for scheme in PORTS:
        targets = [f"{each}:{PORTS[scheme]}" for each in addresses_of(scheme, count // 2)]
        part = len(targets) * 3 // 10
        for kind, chosen in (("socks5", targets[:part]), ("http", targets[part:])):
            job: dict[str, Any] = {"job_name": f"{scheme}-{kind}", "scheme": scheme, "proxy_url": f"{kind}://{proxy}"}
            job |= {"static_configs": [{"targets": chosen}]}
            job |= {"tls_config": {"ca_file": ca, "server_name": "localhost"}} if scheme == "https" else {}
            jobs.append(job)
    times = {"scrape_interval": f"{INTERVAL_S}s", "scrape_timeout": "10s"}
    return yaml.safe_dump({"global": times, "scrape_configs": jobs})


@contextmanager
def prometheus(directory: Path, text: str, port: int) -> Iterator[None]:
    """Run Prometheus during the block."""
    (directory / "prometheus.yaml").write_text(text)
    arguments = [f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data"]
    with (directory / "prometheus.log").open("wb") as log:
        process = Popen(["prometheus", *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def query(port: int, text: str) -> float:
    """Return the value of a query; 0 if there is none."""
    with DIRECT.open(f"http://127.0.0.1:{port}/api/v1/query?query={quote(text)}", timeout=20) as answer:
        found = json.load(answer)["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def start_proxy(deployment: Deployment, inside: bool) -> tuple[ProgramProcess, int]:
    """Start the server, the agent and the forward proxy; return the process that the proxy is in, and its port."""
    port = free_port()
    server = deployment.start_server(*([f"--forward-port={port}"] if inside else []))
    deployment.start_agent()
    if inside:
        return server, port
    sidecar = deployment.start_package("forward", [f"--server=unix:{deployment.socket}", f"--port={port}", "--v=0"])
    sidecar.wait_for("Forward proxy started")
    return sidecar, port


async def measure(directory: Path, count: int, minutes: float, inside: bool) -> dict[str, float]:
    """Return the scrapes, those that failed, and the cost of the forward proxy's process."""
    deployment = Deployment(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployment.path("server.crt"), deployment.path("server.key"))
    servers = await open_targets(count, context)
    port = free_port()
    try:
        process, proxy = await asyncio.to_thread(start_proxy, deployment, inside)
        text = configuration(count, f"127.0.0.1:{proxy}", deployment.path("ca.crt"))
        with prometheus(directory, text, port):
            before_s = process.cpu_seconds()
            await asyncio.sleep(60 * minutes)
            window = f"[{int(60 * minutes) + 60}s]"
            failed = f"sum(count_over_time(up{window}) - sum_over_time(up{window}))"
            return {
                "targets": await asyncio.to_thread(query, port, "count(up)"),
                "failed": await asyncio.to_thread(query, port, failed),
                "scrapes": await asyncio.to_thread(query, port, f"sum(count_over_time(up{window}))"),
                "cpu_percent": round(100 * (process.cpu_seconds() - before_s) / (60 * minutes), 2),
                "resident_mib": round(process.memory_bytes() / 2**20, 1),
            }
    finally:
        await asyncio.to_thread(deployment.stop)
        for each in servers:
            each.close()


def main() -> int:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--inside", action="store_true", help="use the forward proxy of the server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        made = measure(Path(directory), arguments.targets, arguments.minutes, arguments.inside)
        found = uvloop.run(made)
    print(json.dumps(found, indent=2))
    return int(found["failed"] > 0 or found["targets"] < arguments.targets)


if __name__ == "__main__":
    sys.exit(main())
