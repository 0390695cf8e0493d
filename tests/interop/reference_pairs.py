"""Pairs of a server and an agent, one of them a program of this project, that the tests with the reference start.

A pair owns its deployment and the two programs that run at the moment; a test restarts either of them.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from support.one_port import OnePort
from support.waiting import until

VERSIONS = ("4f8517c1", "v0.36.0", "v0.31.0")
NEWEST = VERSIONS[0]
OURS, ON_GRPCIO, IN_GO = "ours", "ours on grpcio", "in Go"  # "in Go" is tests/interop/peer
READY_TIMEOUT_S = 20.0
POLL_S = 0.05
PREFIX = "konnectivity_network_proxy_"


class Pairing(NamedTuple):
    """Kinds of the programs of a pair; a server of the reference has the one frontend that is named."""

    server: str
    agent: str
    frontend: str = "connect-uds"

    def __str__(self) -> str:
        return f"server {self.server}-agent {self.agent}-{self.frontend}"


PAIRINGS = (
    *(Pairing(version, OURS) for version in VERSIONS),
    Pairing(NEWEST, ON_GRPCIO),
    *(Pairing(OURS, version) for version in VERSIONS),
    Pairing(OURS, IN_GO),
)


class RunningPair:
    """Server and agent of one pairing, with the files and ports that they keep over a restart.

    Args:
        pairing: kinds of the two programs, and the frontend.
        directory: folder of the deployment.
        programs: folder of the programs in Go of this folder.
        reference: function: version -> paths of the reference's server and agent.
    """

    def __init__(
        self, pairing: Pairing, directory: Path, programs: Path, reference: Callable[[str], tuple[Path, Path]]
    ) -> None:
        self.pairing = pairing
        self.deployment = deployment_in(directory) if pairing.server == OURS else Deployment(directory)
        self._programs = programs
        self._reference = reference

    def start(self, server: Iterable[str] = (), agent: Iterable[str] = ()) -> None:
        """Start both programs with additional flags and wait until the server has the agent."""
        self.server = self.start_server(*server)
        self.agent = self.start_agent(*agent)
        self.until_ready()

    def start_server(self, *more: str) -> ProgramProcess:
        if self.pairing.server == OURS:
            return self.deployment.start_server(*more)
        program = self._reference(self.pairing.server)[0]
        arguments = [*reference_server(self.deployment, self.pairing.frontend), *more]
        server = self.deployment.start_program(program, arguments)
        wait_for_start(self.deployment)
        return server

    def start_agent(self, *more: str) -> ProgramProcess:
        return start_agent(self.deployment, self.pairing.agent, self._programs, self._reference, *more)

    def until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the server has the agent."""
        wait_for_agent(self.deployment, timeout_s)

    def connect(self) -> Any:
        """Return a client of this project for the frontend of the pairing."""
        mode = "grpc" if self.pairing.frontend == "grpc" else "http-connect"
        return connect(**self.deployment.frontend(mode, unix=self.pairing.frontend != "connect-tls"))  # type: ignore[arg-type]

    def server_metrics(self) -> dict[str, float]:
        return metrics(self.deployment.admin_port)  # v0.31.0 has none on the health port

    def agent_metrics(self) -> dict[str, float]:
        return metrics(self.agent.health_port)


def deployment_in(directory: Path) -> Deployment:
    """Return a deployment of a server of this project, on one port if the environment has ONE_PORT."""
    return OnePort(directory) if os.environ.get("ONE_PORT") else Deployment(directory)


def go_agent(deployment: Deployment) -> list[str]:
    """Return the flags for the files of the agent that is written in Go."""
    name = "agent" if isinstance(deployment, OnePort) else "client"
    files = {"ca": "ca.crt", "cert": f"{name}.crt", "key": f"{name}.key"}
    return [f"--{flag}={deployment.path(file)}" for flag, file in files.items()]


def start_agent(
    deployment: Deployment,
    kind: str,
    programs: Path,
    reference: Callable[[str], tuple[Path, Path]],
    *more: str,
    port: int | None = None,
) -> ProgramProcess:
    """Start an agent of any kind without waiting for its connection."""
    if kind == IN_GO:
        arguments = [f"--server=127.0.0.1:{port or deployment.agent_port}", *go_agent(deployment), *more]
        return deployment.start_program(programs / "peer", arguments)
    if kind in (OURS, ON_GRPCIO):
        flags = ["--grpc-implementation=grpcio"] if kind == ON_GRPCIO else []
        return deployment.start_agent(*flags, *more, port=port, connects=False)
    health_port = free_port()
    agent = deployment.start_program(
        reference(kind)[1], deployment.agent_arguments(*more, port=port, health_port=health_port)
    )
    agent.health_port = health_port
    return agent


def wait_for_start(deployment: Deployment) -> None:
    """Wait until the server answers on its health port."""
    until(
        lambda: answer(deployment.health_port, "/healthz") is not None,
        "the server has started",
        READY_TIMEOUT_S,
        POLL_S,
    )


def wait_for_agent(deployment: Deployment, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait until /readyz, which every server program has, reports that the server has an agent."""
    until(lambda: answer(deployment.health_port, "/readyz") is not None, "the server has an agent", timeout_s, POLL_S)


def frontend_flags(deployment: Deployment, frontend: str) -> list[str]:
    """Return the arguments of a server of the reference that make its frontend."""
    if frontend == "connect-tls":
        files = {"ca-cert": "ca.crt", "cert": "server.crt", "key": "server.key"}
        tls = [f"--server-{flag}={deployment.path(file)}" for flag, file in files.items()]
        return ["--mode=http-connect", f"--server-port={deployment.server_port}", *tls]
    mode = "grpc" if frontend == "grpc" else "http-connect"
    return [f"--mode={mode}", f"--uds-name={deployment.socket}", "--server-port=0"]


def reference_server(deployment: Deployment, frontend: str) -> list[str]:
    """Return the arguments of a server of the reference with one frontend."""
    return [
        f"--agent-port={deployment.agent_port}",
        f"--admin-port={deployment.admin_port}",
        f"--health-port={deployment.health_port}",
        f"--cluster-ca-cert={deployment.path('ca.crt')}",
        f"--cluster-cert={deployment.path('server.crt')}",
        f"--cluster-key={deployment.path('server.key')}",
        *frontend_flags(deployment, frontend),
    ]


def answer(port: int, path: str) -> str | None:
    """Return the text of an answer with the status 200 on a port of loopback; otherwise None."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection, suppress(OSError):
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        return text if response.status == 200 else None
    return None


def metrics(port: int) -> dict[str, float]:
    """Return the metrics on a port, by name and labels without the common prefix; none if nothing listens."""
    text = answer(port, "/metrics") or ""
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(PREFIX))
    return {sorted_labels(name.removeprefix(PREFIX)): float(value) for name, _, value in lines}


def sorted_labels(name: str) -> str:
    """Return a metric's name with its labels in the order of the alphabet."""
    family, brace, labels = name.partition("{")
    return family + brace + ",".join(sorted(re.findall(r'\w+="[^"]*"', labels))) + ("}" if brace else "")


async def eventually(condition: Callable[[], Any], expected: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait in a thread until a condition is true."""
    await asyncio.to_thread(until, condition, expected, timeout_s, POLL_S)


async def echo_once(tunnel: Any, address: str) -> asyncio.StreamWriter:
    """Dial an echo target, check one echo, and return the writer of the open connection."""
    reader, writer = await tunnel.dial(address)
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    return writer


async def run_pairs(
    work: Callable[[RunningPair], Awaitable[Any]],
    new_pair: Callable[[Pairing], RunningPair],
    pairings: Iterable[Pairing],
    at_once: int,
) -> dict[Pairing, Any]:
    """Start a pair of each pairing, some at once, do the same work with each, and return the outcomes."""

    async def one(pairing: Pairing) -> Any:
        pair = new_pair(pairing)
        try:
            await asyncio.to_thread(pair.start)
            return await work(pair)
        finally:
            await asyncio.to_thread(pair.deployment.stop)

    return await side_by_side(one, pairings, at_once)


async def side_by_side(work: Callable[[Any], Awaitable[Any]], keys: Iterable[Any], at_once: int = 4) -> dict[Any, Any]:
    """Do the same work for all keys, some at once, and return each outcome: a result or an exception."""
    room = asyncio.Semaphore(at_once)

    async def one(key: Any) -> Any:
        async with room:
            return await work(key)

    keys = list(keys)
    outcomes = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
    return dict(zip(keys, outcomes, strict=True))


def result(outcome: Any) -> Any:
    """Return the result of work that was done side by side, or raise its exception."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def selected(request: Any, name: str) -> list[Any]:
    """Return the values of a parameter in the selected tests of the fixture's module, so that no other work is done."""
    items = (item for item in request.session.items if item.path == request.path)
    return list(dict.fromkeys(item.callspec.params[name] for item in items if name in item.callspec.params))
