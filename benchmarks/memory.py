"""Private memory of the programs at rest: what one more process costs a machine that runs others of its kind.

    .venv/bin/python -m benchmarks.memory          # about a minute
    .venv/bin/python -m benchmarks.memory --settle 20
    .venv/bin/python -m benchmarks.memory --crowd 20   # servers at once, ours and the reference's: PSS of all

Private memory is Private_Clean + Private_Dirty of /proc/PID/smaps_rollup; anonymous memory is the part of it that the
kernel cannot give back, and that a container's limit is about. Each program is the real one, started alone with the
flags of its row, connected, and left to itself. The last columns are those after one scrape of /metrics. The PSS of a
crowd (proportional set size) counts each page once, however many servers share it.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import reference
from benchmarks.sides import rollup_kib
from konnectivity.testing.deployment import Deployment, ProgramProcess
from support.kubernetes_api import KubernetesApi

MIB = 1 << 20
USER = "system:serviceaccount:kube-system:konnectivity-agent"
AUDIENCE = "system:konnectivity-server"
TOKEN = "good"


class Memory(NamedTuple):
    """Memory of one process, in MiB."""

    private: float
    anonymous: float


def memory_of(pid: int) -> Memory:
    """Return the memory of a process."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name] = int(size) * 1024
    return Memory((sizes["Private_Clean:"] + sizes["Private_Dirty:"]) / MIB, sizes["Anonymous:"] / MIB)


def scrape(port: int) -> float:
    """Ask for /metrics once and return the seconds until the answer was read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    began = time.monotonic()
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    text = response.read()
    if response.status != 200 or b"konnectivity_network_proxy_" not in text:
        raise RuntimeError(f"/metrics answers {response.status}: {text[:200]!r}")
    connection.close()
    return time.monotonic() - began


class Row(NamedTuple):
    """Program to be measured: its name in the table, and its start, which returns the process and its /metrics port."""

    name: str
    start: Callable[[Deployment, KubernetesApi], tuple[ProgramProcess, int]]


def idle_server(deployment: Deployment, _: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start a server with one agent."""
    server = deployment.start_server()
    deployment.start_agent()
    return server, deployment.admin_port


def idle_agent(deployment: Deployment, _: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start an agent with one server."""
    deployment.start_server()
    agent = deployment.start_agent()
    return agent, agent.health_port


def lease_agent(deployment: Deployment, api: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start an agent that counts the leases of servers."""
    deployment.start_server("--enable-lease-controller", f"--kubeconfig={kubeconfig(deployment, api)}")
    agent = deployment.start_agent("--count-server-leases", f"--kubeconfig={kubeconfig(deployment, api)}")
    return agent, agent.health_port


def lease_server(deployment: Deployment, api: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start a server that keeps a lease and has the token of its agent reviewed."""
    server = deployment.start_server(
        "--enable-lease-controller",
        "--agent-namespace=kube-system",
        "--agent-service-account=konnectivity-agent",
        f"--authentication-audience={AUDIENCE}",
        "--cluster-ca-cert=",
        f"--kubeconfig={kubeconfig(deployment, api)}",
    )
    token = Path(deployment.path("token"))
    token.write_text(TOKEN)
    deployment.start_agent(f"--service-account-token-path={token}", "--agent-cert=", "--agent-key=")
    return server, deployment.admin_port


def kubeconfig(deployment: Deployment, api: KubernetesApi) -> Path:
    return api.kubeconfig(Path(deployment.path("kubeconfig")))


ROWS = (
    Row("server, one agent", idle_server),
    Row("agent, one server", idle_agent),
    Row("server, leases and token review", lease_server),
    Row("agent, leases", lease_agent),
)


def reference_server(deployment: Deployment, _: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start the reference's server with one agent of the reference."""
    server = reference.start_server(deployment)
    reference.start_agent(deployment)
    return server, 0


def reference_agent(deployment: Deployment, _: KubernetesApi) -> tuple[ProgramProcess, int]:
    """Start the reference's agent with one server of the reference."""
    reference.start_server(deployment)
    return reference.start_agent(deployment), 0


REFERENCE_ROWS = (Row("reference: server", reference_server), Row("reference: agent", reference_agent))


def crowd_pss(count: int, settle: float, start: Callable[[Deployment], ProgramProcess]) -> float:
    """Return the PSS in MiB of a number of idle servers together."""
    with tempfile.TemporaryDirectory() as directory:
        deployments = [Deployment(Path(directory, str(number))) for number in range(count)]
        try:
            pids = [start(each).pid for each in deployments]
            time.sleep(settle)
            return sum(rollup_kib(pid, "Pss") for pid in pids) / 1024
        finally:
            for each in deployments:
                each.stop()


def print_crowd(count: int, settle: float) -> None:
    ours = crowd_pss(count, settle, lambda each: each.start_server())
    print(f"PSS of {count} idle servers together: {ours:.0f} MiB", flush=True)
    if reference.programs() is None:
        print(f"Not run: {reference.MISSING}")
        return
    theirs = crowd_pss(count, settle, reference.start_server)
    print(f"PSS of {count} idle servers of the reference: {theirs:.0f} MiB; ratio {ours / theirs:.2f}")


@contextmanager
def running(row: Row) -> Iterator[tuple[ProgramProcess, int]]:
    """Run the program of a row for the block."""
    with tempfile.TemporaryDirectory() as directory, KubernetesApi(Path(directory) / "api") as api:
        api.add_token(TOKEN, USER, AUDIENCE)
        deployment = Deployment(Path(directory))
        try:
            yield row.start(deployment, api)
        finally:
            deployment.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the private memory of the programs at rest.")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds to wait before the look (default: 5)")
    parser.add_argument("--crowd", type=int, default=0, metavar="N", help="measure the PSS of N idle servers instead")
    parser.add_argument("--rounds", type=int, default=3, help="processes per row; shows medians (default: 3)")
    arguments = parser.parse_args()
    os.environ.pop("KUBECONFIG", None)
    if arguments.crowd:
        print_crowd(arguments.crowd, arguments.settle)
        return
    print("| MiB at rest | private | anonymous | private, after a scrape | anonymous | first scrape, ms |")
    print("|---|---|---|---|---|---|")
    for row in (*ROWS, *(REFERENCE_ROWS if reference.programs() else ())):
        found = []
        for _ in range(arguments.rounds):
            with running(row) as (process, port):
                time.sleep(arguments.settle)
                before = memory_of(process.pid)
                seconds = scrape(port) if port else float("nan")
                found.append((*before, *memory_of(process.pid), 1000 * seconds))
        cells = " | ".join(f"{statistics.median(column):.1f}" for column in zip(*found, strict=True))
        print(f"| {row.name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
