"""The load generator, in a process of its own: one scenario against one way to the targets; prints one JSON object.

    python -m benchmarks.load echo --to unix:/path/frontend.sock --port 1234 --connections 32 --count 2000

`--to direct` dials the target without a proxy: the generator's own ceiling.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import time
from typing import cast

import uvloop

from benchmarks.targets import BLOCK, BULK

MESSAGE = b"k" * 64


class Way:
    """How to reach a target: directly, by "direct:PORT" (a line to it), or by HTTP CONNECT over "unix:/path"."""

    def __init__(self, to: str, port: int) -> None:
        self.path = to.removeprefix("unix:") if to.startswith("unix:") else ""
        self.port = int(to.partition(":")[2]) if to.startswith("direct:") else port
        self.head = (
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() if self.path else b""
        )

    async def open(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        if self.path:
            await loop.create_unix_connection(lambda: client, self.path)
        else:
            await loop.create_connection(lambda: client, "127.0.0.1", self.port)

    def blocking(self) -> socket.socket:
        """A connected socket, for bulk."""
        if not self.path:
            return socket.create_connection(("127.0.0.1", self.port))
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(self.path)
        sock.sendall(self.head)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += sock.recv(1)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(answer)
        return sock


class Client(asyncio.Protocol):
    """Says MESSAGE, waits for it to come back, so many times."""

    def __init__(self, way: Way, count: int) -> None:
        self.way = way
        self.left = count
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self.dialled = not way.head
        self.got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.way.head:
            self.transport.write(self.way.head)
        else:
            self.say()

    def data_received(self, data: bytes) -> None:
        if not self.dialled:
            if not data.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(data)
            self.dialled = True
            self.say()
            return
        self.got += len(data)
        if self.got < len(MESSAGE):
            return
        self.got = 0
        self.latencies.append(time.perf_counter() - self.said)
        self.left -= 1
        if self.left > 0:
            self.say()
        else:
            self.transport.close()

    def say(self) -> None:
        self.said = time.perf_counter()
        self.transport.write(MESSAGE)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def percentile(samples: list[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6 if ordered else float("nan")


async def echo(way: Way, connections: int, count: int) -> dict[str, float]:
    clients = [Client(way, count) for _ in range(connections)]
    started = time.perf_counter()
    for client in clients:
        await way.open(client)
    for client in clients:
        await client.done
    seconds = time.perf_counter() - started
    samples = [sample for client in clients for sample in client.latencies]
    return {
        "operations": len(samples),
        "per_s": len(samples) / seconds,
        "p50_us": percentile(samples, 0.5),
        "p99_us": percentile(samples, 0.99),
    }


async def dials(way: Way, parallel: int, count: int) -> dict[str, float]:
    async def worker() -> None:
        for _ in range(count // parallel):
            client = Client(way, 1)
            await way.open(client)
            await client.done

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(parallel):
            tasks.create_task(worker())
    return {"operations": count, "per_s": count / (time.perf_counter() - started)}


def down(way: Way, seconds: float) -> dict[str, float]:
    """Read for some seconds from the source."""
    buffer, total = bytearray(len(BLOCK)), 0
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        with way.blocking() as sock:
            while (size := sock.recv_into(buffer)) and time.perf_counter() - started < seconds:
                total += size
    return {"operations": total / 2**30, "mib_per_s": total / 2**20 / took}


def up(way: Way, size: int) -> dict[str, float]:
    """Send to the sink and wait for its answer."""
    started = time.perf_counter()
    with way.blocking() as sock:
        for _ in range(size // len(BLOCK)):
            sock.sendall(BLOCK)
        if size < BULK:
            sock.shutdown(socket.SHUT_WR)
        if sock.recv(1) != b"!":
            raise ConnectionError("the sink did not get it all")
    return {"operations": size / 2**30, "mib_per_s": size / 2**20 / (time.perf_counter() - started)}


def uploads(way: Way, verdict: int, count: int, answered: bool) -> dict[str, float]:
    """Uploads of 10 kB to 2 MB, each closed (or half-closed, and its answer read) right after its last byte."""
    sizes = random.Random(1)
    answers = 0
    _whole(verdict)  # of earlier runs
    for _ in range(count):
        size = sizes.randrange(10_000, 2_000_000)
        with way.blocking() as sock, contextlib.suppress(OSError):
            sock.sendall(size.to_bytes(8) + bytes(size))
            if answered:
                sock.shutdown(socket.SHUT_WR)
                answers += sock.recv(8) == size.to_bytes(8)
    if answered:
        return {"whole": answers}
    deadline, whole = time.monotonic() + 10, 0
    while whole < count and time.monotonic() < deadline:  # the last ones are still under way
        whole += _whole(verdict)
        time.sleep(0.1)
    return {"whole": whole}


def _whole(verdict: int) -> int:
    with socket.create_connection(("127.0.0.1", verdict)) as sock:
        return int.from_bytes(sock.recv(8))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=("echo", "dials", "down", "up", "uploads", "answers"))
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--verdict", type=int, default=0, help="port of the target that counts uploads")
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    way = Way(arguments.to, arguments.port)
    if arguments.scenario == "echo":
        result = uvloop.run(echo(way, arguments.connections, arguments.count))
    elif arguments.scenario == "dials":
        result = uvloop.run(dials(way, arguments.connections, arguments.count))
    elif arguments.scenario == "down":
        result = down(way, arguments.seconds)
    elif arguments.scenario == "up":
        result = up(way, BULK)
    else:
        result = uploads(way, arguments.verdict, arguments.count, arguments.scenario == "answers")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
