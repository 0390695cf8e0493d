"""A deployment that suffers faults, and clients that use it meanwhile and measure the effect on them.

If the programs of the reference are available (benchmarks/reference.py), they suffer the same faults.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import reference
from konnectivity.client import ClientTunnel, DialError, TunnelLost
from konnectivity.testing.deployment import Deployment, ProgramProcess

ERRORS = (DialError, TunnelLost, OSError, TimeoutError, asyncio.IncompleteReadError)
PREFIX = "konnectivity_network_proxy_"
DIAL_S = 15.0  # timeout of a client's dial
SLOW_S = 0.9  # a dial that takes longer was affected by a fault and not by noise of the machine
AT_REST = ("http_connections", "established_connections", "pending_backend_dials", "buffered_bytes")


class Site(Deployment):
    """One server and its agents, either ours or those of the reference."""

    def __init__(self, directory: Path, ours: bool = True) -> None:
        super().__init__(directory)
        self.ours = ours

    def server(self, *more: str) -> ProgramProcess:
        return self.start_server(*more) if self.ours else reference.start_server(self)

    def agent(self, *more: str, port: int | None = None) -> ProgramProcess:
        """Start an agent and return when it is connected."""
        if self.ours:
            return self.start_agent(*more, port=port)
        agent = reference.start_agent(self, *more, *([f"--proxy-server-port={port}"] if port else []))
        end = time.monotonic() + 20
        while get(agent.health_port, "/readyz")[0] != 200:
            if time.monotonic() > end:
                raise RuntimeError(f"the agent is not ready: {agent.log[-2000:]}")
            time.sleep(0.02)
        return agent

    @property
    def backends(self) -> int:
        """Return the number of agents that the server counts."""
        return int(metrics(self.health_port).get("server_ready_backend_connections", 0))

    async def at_rest(self, seconds: float = 10.0) -> None:
        """Wait until the server's gauges of open objects are zero; a server of the reference is not checked."""
        if self.ours:
            await until(
                lambda: not any(metrics(self.health_port).get(f"server_{name}", 1) for name in AT_REST), seconds
            )


def get(port: int, path: str, timeout_s: float = 2.0) -> tuple[int, str]:
    """Return status and text of a page, or 0 and "" if the request failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def metrics(port: int) -> dict[str, float]:
    """Return the samples of a port's metrics without the common prefix; empty if the request failed."""
    lines = [line.rpartition(" ") for line in get(port, "/metrics")[1].splitlines() if not line.startswith("#")]
    return {name.removeprefix(PREFIX): float(value) for name, _, value in lines}


async def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait until the condition is true, at most `seconds`; return the seconds waited."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - began < seconds, f"it did not come true within {seconds:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def descriptors(process: ProgramProcess) -> int:
    """Return the number of open file descriptors of a program."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


async def echo(tunnel: ClientTunnel, address: str) -> None:
    """Dial, send five bytes, and check that they are echoed."""
    reader, writer = await tunnel.dial(address, DIAL_S)
    try:
        writer.write(b"hello")
        async with asyncio.timeout(DIAL_S):
            assert await reader.readexactly(5) == b"hello", "the echo is another"
    finally:
        writer.close()


async def until_echo(tunnel: ClientTunnel, address: str, seconds: float) -> float:
    """Dial repeatedly until an echo succeeds; return the seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(seconds):
                await echo(tunnel, address)
            return time.monotonic() - began
        except ERRORS:
            if time.monotonic() - began > seconds:
                raise
            await asyncio.sleep(0.02)


@dataclass
class Attempt:
    """One dial with its echo."""

    began: float
    took: float
    error: BaseException | None


@dataclass
class Dialler:
    """Context manager that dials at a fixed pace during the block and keeps every attempt."""

    tunnel: ClientTunnel
    address: str
    pace_s: float = 0.05
    attempts: list[Attempt] = field(default_factory=list)

    async def __aenter__(self) -> Dialler:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop dialling and wait for the attempts in progress."""
        self._enough = True
        await self._task

    async def _run(self) -> None:
        self._enough = False
        async with asyncio.TaskGroup() as tasks:
            while not self._enough:
                tasks.create_task(self._once())
                await asyncio.sleep(self.pace_s)

    async def _once(self) -> None:
        began, error = time.monotonic(), None
        try:
            await echo(self.tunnel, self.address)
        except ERRORS as found:
            error = found
        self.attempts.append(Attempt(began, time.monotonic() - began, error))

    @property
    def failed(self) -> list[Attempt]:
        return [each for each in self.attempts if each.error is not None]

    def suffered_until(self, since: float) -> float:
        """Return the seconds from `since` to the start of the last failed or slow dial; 0 without such a dial."""
        bad = [each.began for each in self.attempts if each.error is not None or each.took > SLOW_S]
        return max((began - since for began in bad), default=0.0)


class Talkers:
    """Connections that send a number every few milliseconds during the block and compare the echo."""

    def __init__(self, tunnel: ClientTunnel, address: str, count: int = 5) -> None:
        self.count = count
        self.wrong = 0  # number of echoes that differ from the bytes sent
        self.said = 0
        self.broken: list[float] = []  # time of each break
        self.last_echo = 0.0
        self._tunnel = tunnel
        self._address = address

    async def __aenter__(self) -> Talkers:
        self._streams = [await self._tunnel.dial(self._address) for _ in range(self.count)]
        self._tasks = [asyncio.create_task(self._talk(*each)) for each in self._streams]
        await asyncio.sleep(0.2)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, writer in self._streams:
            writer.transport.abort()
            with suppress(*ERRORS):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.said += 1
                said = self.said.to_bytes(8, "big") * 16
                writer.write(said)
                heard = await reader.readexactly(len(said))
                self.wrong += heard != said
                self.last_echo = time.monotonic()
                await asyncio.sleep(0.005)
        except ERRORS as error:
            if isinstance(error, asyncio.IncompleteReadError) and not said.startswith(error.partial):
                self.wrong += 1
            self.broken.append(time.monotonic())

    async def all_broken(self, seconds: float) -> None:
        """Wait until all connections are broken."""
        await until(lambda: len(self.broken) == self.count, seconds)

    async def go_on(self, seconds: float) -> float:
        """Wait until the unbroken connections have echoed three times each; return the seconds that it took."""
        began, said = time.monotonic(), self.said
        while self.said < said + 3 * (self.count - len(self.broken)):
            assert time.monotonic() - began < seconds, "the connections do not go on"
            await asyncio.sleep(0.01)
        return time.monotonic() - began
