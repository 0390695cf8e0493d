"""Load generator in a process of its own: runs one scenario over one way to the targets and prints a JSON object.

    python -m benchmarks.load echo --to unix:/path/frontend.sock --port 1234 --connections 32 --count 2000

`--to` is how a target is reached: `unix:/path` (HTTP CONNECT), `tls:PORT:DIRECTORY` (the same over mutual TLS, with the
files there), `grpc:/path` (one gRPC tunnel for each connection, as kube-apiserver does it), `connect:PORT` and
`socks5:PORT` (an HTTP or SOCKS5 proxy), or `direct`: the generator's own ceiling.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import ssl
import sys
import threading
import time
from typing import cast

import uvloop

from benchmarks.targets import BLOCK
from konnectivity.client import connect, tls_context


class Way:
    """Way to reach a target."""

    def __init__(self, to: str, port: int) -> None:
        self.kind, _, rest = to.partition(":")
        self.path, self.port, self.target = rest, port, f"127.0.0.1:{port}"
        self.tls: ssl.SSLContext | None = None
        if self.kind == "tls":
            text, _, directory = rest.partition(":")
            self.port = int(text)
            ca, certificate, key = (f"{directory}/{name}" for name in ("ca.crt", "client.crt", "client.key"))
            self.tls = tls_context(ca, certificate, key, "http-connect")
        if self.kind in ("connect", "socks5"):
            self.port = int(rest)
        connects = self.kind in ("unix", "tls", "connect")
        self.head = f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n\r\n".encode() if connects else b""
        self.request = b""  # that follows the answer to the head
        if self.kind == "socks5":
            self.head, self.request = b"\x05\x01\x00", b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2)

    async def open(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        if self.kind == "unix":
            await loop.create_unix_connection(lambda: client, self.path)
        else:
            await loop.create_connection(lambda: client, "127.0.0.1", self.port, ssl=self.tls)

    def blocking(self) -> socket.socket:
        """Return a connected blocking socket for bulk data."""
        if self.kind == "direct":
            return socket.create_connection(("127.0.0.1", self.port))
        sock = socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET)
        sock.settimeout(30)
        sock.connect(self.path if self.kind == "unix" else ("127.0.0.1", self.port))
        sock.sendall(self.head)
        if self.request:
            sock.recv(2, socket.MSG_WAITALL)
            sock.sendall(self.request)
            if sock.recv(10, socket.MSG_WAITALL)[1:2] != b"\x00":
                raise ConnectionError("the SOCKS5 proxy refuses")
            return sock
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += sock.recv(1)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"the answer to CONNECT begins with {answer[:4]!r}, not with its status line")
        return sock


class Client(asyncio.Protocol):
    """Client that sends a message and waits for its echo, a number of times, with an optional pause between two."""

    def __init__(self, way: Way, count: int, size: int = 64, pause_s: float = 0.0) -> None:
        self.way = way
        self.left = count
        self.message = b"k" * size
        self.pause_s = pause_s
        self.latencies: list[float] = []
        self.dialled = asyncio.Event()
        self.done = asyncio.get_running_loop().create_future()
        self.got = 0
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.way.head:
            self.transport.write(self.way.head)
        else:
            self.begin()

    def shake(self, data: bytes) -> None:
        """Take answers of a SOCKS5 proxy."""
        self.answer += data
        if len(self.answer) == 2:
            self.transport.write(self.way.request)
        elif len(self.answer) >= 12:
            if self.answer[3]:
                raise ConnectionError(f"the SOCKS5 proxy refuses: {self.answer[3]}")
            self.begin()

    def begin(self) -> None:
        self.dialled.set()
        if self.left:
            self.say()

    def data_received(self, data: bytes) -> None:
        if not self.dialled.is_set():
            if self.way.request:
                self.shake(data)
                return
            if not data.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"the answer to CONNECT begins with {data[:4]!r}, not with its status line")
            self.begin()
            return
        self.got += len(data)
        if self.got < len(self.message):
            return
        self.got = 0
        self.latencies.append(time.perf_counter() - self.said)
        self.left -= 1
        if self.left <= 0:
            self.transport.close()
        elif self.pause_s:
            asyncio.get_running_loop().call_later(self.pause_s, self.say)
        else:
            self.say()

    def say(self) -> None:
        self.said = time.perf_counter()
        self.transport.write(self.message)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def percentile(samples: list[float], share: float) -> float:
    """Return a percentile in microseconds."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6 if ordered else float("nan")


async def echo(way: Way, connections: int, count: int, size: int) -> dict[str, float]:
    clients = [Client(way, count, size) for _ in range(connections)]
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
    async def once() -> None:
        if way.kind == "grpc":
            async with connect(f"unix:{way.path}", "grpc") as tunnel:
                reader, writer = await tunnel.dial(way.target)
                writer.write(b"k" * 64)
                await reader.readexactly(64)
                writer.close()
        else:
            client = Client(way, 1)
            await way.open(client)
            await client.done

    async def worker() -> None:
        for _ in range(count // parallel):
            await once()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(parallel):
            tasks.create_task(worker())
    return {"operations": count, "per_s": count / (time.perf_counter() - started)}


def bulk(way: Way, upway: Way, down: int, up: int, seconds: float) -> dict[str, float]:
    """Transfer bulk data in each direction for some seconds, with one thread per connection."""
    totals = [0] * (down + up)
    end = time.perf_counter() + seconds

    def read(number: int) -> None:
        buffer = bytearray(len(BLOCK))
        while time.perf_counter() < end:
            with way.blocking() as sock:
                while (size := sock.recv_into(buffer)) and time.perf_counter() < end:
                    totals[number] += size

    def write(number: int) -> None:
        with upway.blocking() as sock:
            while time.perf_counter() < end:
                sock.sendall(BLOCK)
                totals[number] += len(BLOCK)
            sock.shutdown(socket.SHUT_WR)
            if up == 1 and sock.recv(1) != b"!":
                raise ConnectionError("the sink did not get it all")

    started = time.perf_counter()
    threads = [threading.Thread(target=read if number < down else write, args=(number,)) for number in range(down + up)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    return {"operations": sum(totals) / 2**30, "mib_per_s": sum(totals) / 2**20 / took}


async def mix(way: Way, source: Way, seconds: float) -> dict[str, float]:
    """Run the usual mix of a cluster: requests, terminals with a keystroke every 20 ms, and a `kubectl cp`."""
    end = time.perf_counter() + seconds
    requests: list[float] = []
    terminals = [Client(way, 10**9, 8, pause_s=0.02) for _ in range(20)]
    for each in terminals:
        await way.open(each)

    async def ask() -> None:
        while time.perf_counter() < end:
            started = time.perf_counter()
            client = Client(way, 3, 1024)
            await way.open(client)
            await client.done
            requests.append(time.perf_counter() - started)
            await asyncio.sleep(0.01)

    def copy() -> int:
        total, buffer = 0, bytearray(len(BLOCK))
        with source.blocking() as sock:
            while time.perf_counter() < end and (size := sock.recv_into(buffer)):
                total += size
                time.sleep(size / (50 * 2**20))  # a disk of 50 MiB/s
        return total

    async with asyncio.TaskGroup() as tasks:
        copied = tasks.create_task(asyncio.to_thread(copy))
        for _ in range(8):
            tasks.create_task(ask())
    for each in terminals:
        each.transport.close()
    keys = [sample for each in terminals for sample in each.latencies]
    return {
        "operations": len(requests),
        "requests_per_s": len(requests) / seconds,
        "request_p99_us": percentile(requests, 0.99),
        "key_p99_us": percentile(keys, 0.99),
        "copy_mib_per_s": copied.result() / 2**20 / seconds,
    }


async def idle(way: Way, count: int) -> dict[str, float]:
    """Open a number of connections, report it on stdout, and hold them until stdin ends."""
    clients = [Client(way, 0) for _ in range(count)]
    for begin in range(0, count, 100):
        batch = clients[begin : begin + 100]
        await asyncio.gather(*(way.open(each) for each in batch))
        await asyncio.gather(*(each.dialled.wait() for each in batch))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for each in clients:
        each.transport.abort()
    return {"operations": count}


def uploads(way: Way, verdict: int, count: int, answered: bool) -> dict[str, float]:
    """Upload 10 kB to 2 MB, and close (or half-close and read the answer) right after the last byte."""
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
    parser.add_argument("scenario", choices=("echo", "dials", "bulk", "mix", "idle", "uploads", "answers"))
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, required=True, help="of the target")
    parser.add_argument("--other", type=int, default=0, help="of a second one: the sink of bulk, the source of a mix")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64, help="of an echo's message")
    parser.add_argument("--down", type=int, default=0)
    parser.add_argument("--up", type=int, default=0)
    parser.add_argument("--verdict", type=int, default=0, help="port of the target that counts uploads")
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    way, other = Way(asked.to, asked.port), Way(asked.to, asked.other)
    if asked.scenario == "echo":
        result = uvloop.run(echo(way, asked.connections, asked.count, asked.size))
    elif asked.scenario == "dials":
        result = uvloop.run(dials(way, asked.connections, asked.count))
    elif asked.scenario == "bulk":
        result = bulk(way, other, asked.down, asked.up, asked.seconds)
    elif asked.scenario == "mix":
        result = uvloop.run(mix(way, other, asked.seconds))
    elif asked.scenario == "idle":
        result = uvloop.run(idle(way, asked.count))
    else:
        result = uploads(way, asked.verdict, asked.count, asked.scenario == "answers")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
