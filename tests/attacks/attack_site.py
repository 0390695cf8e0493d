"""A deployment under attack, the costs of an attack (CPU, memory, log), and the delays of an honest client."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from konnectivity.testing.deployment import Deployment, ProgramProcess
from support import targets
from support.kubernetes_api import KubernetesApi

AUDIENCE = "system:konnectivity-server"
NAMESPACE, ACCOUNT = "kube-system", "konnectivity-agent"
MIB = 1024 * 1024


class AttackSite(Deployment):
    """One server and its agents; `accept_tokens_of`, called before `server` and `agent`, has agents show tokens."""

    api: KubernetesApi | None = None

    def accept_tokens_of(self, api: KubernetesApi) -> None:
        """Let the server review tokens with `api`; the token "good" is accepted."""
        self.api = api
        api.add_token("good", f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", AUDIENCE)
        self.kubeconfig = api.kubeconfig(self.directory / "server.conf")
        self.directory.joinpath("token").write_text("good\n")

    def server(self, *more: str) -> ProgramProcess:
        if self.api is None:
            return self.start_server(*more)
        return self.start_server(
            "--cluster-ca-cert=",
            f"--kubeconfig={self.kubeconfig}",
            f"--agent-namespace={NAMESPACE}",
            f"--agent-service-account={ACCOUNT}",
            f"--authentication-audience={AUDIENCE}",
            *more,
        )

    def agent(self, *more: str) -> ProgramProcess:
        if self.api is None:
            return self.start_agent(*more)
        token = f"--service-account-token-path={self.path('token')}"
        return self.start_agent("--agent-cert=", "--agent-key=", token, *more)

    def metric(self, name: str) -> float:
        """Return the sum of a server metric over all its labels; `name` is without the common prefix."""
        from urllib.request import urlopen

        with urlopen(f"http://127.0.0.1:{self.health_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        full = f"konnectivity_network_proxy_{name}"
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == full)

    def agent_socket(self, certificate: bool = True, version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
        """Return a blocking TLS connection to the agents' port, with or without a client certificate."""
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        context.set_alpn_protocols(["h2"])
        if version is not None:
            context.maximum_version = version
        if certificate:
            context.load_cert_chain(self.path("client.crt"), self.path("client.key"))
        connection = socket.create_connection(("127.0.0.1", self.agent_port), timeout=30)
        return context.wrap_socket(connection, server_hostname="127.0.0.1")


@dataclass
class Cost:
    """Cost of an attack to one process, from the beginning to the end of a `measured` block."""

    cpu_s: float = 0.0
    memory_before: int = 0  # resident bytes
    memory_peak: int = 0  # maximum of resident bytes so far
    log_bytes: int = 0

    @property
    def memory_growth(self) -> int:
        return self.memory_peak - self.memory_before


@asynccontextmanager
async def measured(process: ProgramProcess) -> AsyncIterator[Cost]:
    """Measure what the block costs the process. The peak of memory is sampled every 50 ms."""
    cost = Cost(
        -process.cpu_seconds(), process.memory_bytes(), process.memory_bytes(), -process.log_path.stat().st_size
    )

    async def sample() -> None:
        while True:
            cost.memory_peak = max(cost.memory_peak, process.memory_bytes())
            await asyncio.sleep(0.05)

    sampler = asyncio.create_task(sample())
    try:
        yield cost
    finally:
        sampler.cancel()
        await asyncio.gather(sampler, return_exceptions=True)
        cost.memory_peak = max(cost.memory_peak, process.memory_bytes())
        cost.cpu_s += process.cpu_seconds()
        cost.log_bytes += process.log_path.stat().st_size


async def memory_returns(process: ProgramProcess, before: int, seconds: float = 60.0, slack: int = 4 * MIB) -> None:
    """Wait until resident memory is within 20 % (and `slack` bytes) of `before`; fail after `seconds`."""
    end = time.monotonic() + seconds
    while process.memory_bytes() > before * 1.2 + slack:
        grown = f"{before / MIB:.0f} -> {process.memory_bytes() / MIB:.0f} MiB"
        assert time.monotonic() < end, f"memory did not return within {seconds:g} s: {grown}"
        await asyncio.sleep(0.2)


@dataclass
class Honest:
    """Delays seen by an honest client in a process of its own beside the attack. Filled when `honest` ends."""

    echoes_ms: list[float]
    dials_ms: list[float]
    health_ms: list[float]
    errors: list[str]

    def check(self, echo_ms: float = 50.0, slowest_ms: float = 1000.0) -> None:
        """Assert that half of the echoes took under `echo_ms`, 95 % under three times that, all under `slowest_ms`.

        The attacker, both programs and this client share the cores of one machine with other work. Every dial and
        /healthz takes under `slowest_ms`, too.
        """
        assert not self.errors, self.errors[:3]
        assert self.echoes_ms, "the honest client made no echo"
        assert percentile(self.echoes_ms, 0.5) < echo_ms, self.summary()
        assert percentile(self.echoes_ms, 0.95) < 3 * echo_ms, self.summary()
        assert max(*self.echoes_ms, *self.dials_ms, *self.health_ms) < slowest_ms, self.summary()

    def summary(self) -> str:
        """Return number, p95 and maximum in ms of echoes, dials and /healthz."""
        rows = (("echo", self.echoes_ms), ("dial", self.dials_ms), ("healthz", self.health_ms))
        return "; ".join(
            f"{name} n={len(v)} " + ", ".join(f"{part}={value:.0f} ms" for part, value in _shares(v).items())
            for name, v in rows
        )


def _shares(values: list[float]) -> dict[str, float]:
    return {"p50": percentile(values, 0.5), "p95": percentile(values, 0.95), "max": max(values, default=0.0)}


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


@asynccontextmanager
async def honest(site: AttackSite) -> AsyncIterator[Honest]:
    """Run an honest client of the unix socket in its own process for as long as the block.

    The client echoes on one old connection, dials anew, and asks /healthz, 20 times a second each.
    """
    found = Honest([], [], [], [])
    async with targets.listening(targets.echo) as address:
        program = str(Path(__file__).parent / "honest_client.py")
        arguments: tuple[Any, ...] = (program, site.socket, address, str(site.health_port))
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            assert await client.stdout.readline() == b"ready\n"
            yield found
        finally:
            client.stdin.close()  # the client ends with its standard input
            async with asyncio.timeout(100):
                text = await client.stdout.read()
                await client.wait()
        for name, values in json.loads(text).items():
            getattr(found, name).extend(values)
