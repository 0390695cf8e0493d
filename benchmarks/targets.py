"""Targets of a benchmark in a process of their own: echo, source, sink, a sleeper that never reads, and a judge.

python -m benchmarks.targets      prints {"echo": port, "source": port, ...} and serves until its input ends
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import uvloop

BULK = 1 << 30  # bytes the source sends
BLOCK = bytes(256 * 1024)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Source(Echo):
    """Target that sends BULK bytes and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(1 << 20)
        self.left = BULK
        self.paused = False
        self.go()

    def data_received(self, data: bytes) -> None:
        return

    def go(self) -> None:
        while self.left and not self.paused:
            self.left -= len(BLOCK)
            self.transport.write(BLOCK)
        if not self.left:
            self.transport.close()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.go()


class Sink(Echo):
    """Target that reads to the end and answers with one byte."""

    def data_received(self, data: bytes) -> None:
        return

    def eof_received(self) -> None:
        self.transport.write(b"!")


class Sleeper(Echo):
    """Target that stops reading at the first byte. uvloop starts reading whatever `connection_made` does."""

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()


class Judge(Echo):
    """Target of uploads that announce their size in 8 bytes; answers a half-closed upload with the received size."""

    whole = 0  # of all connections since the last report
    got = 0
    size = b""

    def data_received(self, data: bytes) -> None:
        head = data[: 8 - len(self.size)]
        self.size += head
        self.got += len(data) - len(head)

    def eof_received(self) -> None:
        if len(self.size) == 8 and self.got == int.from_bytes(self.size):
            Judge.whole += 1
        self.transport.write(self.got.to_bytes(8))


class Verdict(Echo):
    """Target that reports how many uploads arrived whole since the last report."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(Judge.whole.to_bytes(8))
        Judge.whole = 0
        self.transport.close()


TARGETS = {"echo": Echo, "source": Source, "sink": Sink, "sleeper": Sleeper, "judge": Judge, "verdict": Verdict}


@contextlib.contextmanager
def running() -> Iterator[dict[str, int]]:
    """Run all targets in a process of their own and return their ports by name."""
    command = [sys.executable, "-m", "benchmarks.targets"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate(timeout=10)


async def main() -> None:
    loop = asyncio.get_running_loop()
    ports = {}
    for name, factory in TARGETS.items():
        sock = socket.socket()
        if factory is Sleeper:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.bind(("127.0.0.1", 0))
        await loop.create_server(factory, sock=sock, backlog=1024)
        ports[name] = sock.getsockname()[1]
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # its end, or any input
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    uvloop.run(main())
