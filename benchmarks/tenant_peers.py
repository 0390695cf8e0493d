"""Benchmark of two servers with many tenants that are peers of each other: memory and CPU time at rest, and a restart.

    .venv/bin/python -m benchmarks.tenant_peers --tenants 100

No agent is connected. Each tenant has one tunnel from each server to the other one. The same two servers without
--peers are measured, too, so that the difference is that of the tunnels.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.memory import memory_of
from benchmarks.tenants import REST_S, START_S, start, write_tenants
from konnectivity.http1.small_requests import get_blocking
from konnectivity.runtime import lifecycle
from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from konnectivity.tool.pki.authority import Authority

ANSWER_S = 10.0  # for the metrics of a server


class Pair:
    """Two servers of one directory.

    Args:
        deployment: files, and ports of the first server.
        peers: whether the servers are peers of each other.

    """

    def __init__(self, deployment: Deployment, peers: bool) -> None:
        self.deployment = deployment
        self._peers = peers
        self._ports = {
            name: {kind: free_port() for kind in ("agent", "server", "health", "admin", "peer")}
            for name in ("one", "two")
        }
        self.servers: dict[str, ProgramProcess] = {}

    def start(self, name: str) -> None:
        path, ports = self.deployment.path, self._ports[name]
        flags = [f"--server-id={name}", *(f"--{kind}-port={ports[kind]}" for kind in ports if kind != "peer")]
        if self._peers:
            flags += [
                f"--peer-port={ports['peer']}",
                "--peers=" + ",".join(f"localhost:{each['peer']}" for each in self._ports.values()),
                f"--peer-cert={path('peer.crt')}",
                f"--peer-key={path('peer.key')}",
                f"--peer-ca-cert={path('peer-ca.crt')}",
            ]
        self.servers[name], _ = start(self.deployment, *flags)

    def tunnels(self, name: str) -> int:
        """Return the number of tunnels from a server to its peers, of all tenants."""
        answer = get_blocking(f"127.0.0.1:{self._ports[name]['health']}", "/metrics", ANSWER_S)
        lines = answer.body.decode().splitlines()
        return sum(int(line.rpartition(" ")[2]) for line in lines if "_server_peers{" in line)

    def wait_for_tunnels(self, count: int) -> None:
        end = time.monotonic() + START_S
        while self._peers and min(map(self.tunnels, self.servers)) < count:
            if time.monotonic() > end:
                raise TimeoutError("the tunnels between the servers are not there in time")
            time.sleep(0.2)


def measure(pair: Pair, count: int) -> dict[str, float]:
    """Return private memory in MiB and CPU in percent of a core, of one server at rest, and the cost of a restart."""
    for name in ("one", "two"):
        pair.start(name)
    pair.wait_for_tunnels(count)
    time.sleep(5)
    one = pair.servers["one"]
    private, before = memory_of(one.pid).private, one.cpu_seconds()
    time.sleep(REST_S)
    idle = (one.cpu_seconds() - before) / REST_S
    pair.servers["two"].send(signal.SIGKILL)
    pair.servers["two"].wait()
    before, began = one.cpu_seconds(), time.monotonic()
    pair.start("two")
    pair.wait_for_tunnels(count)
    return {
        "private_mib": round(private, 1),
        "idle_cpu_percent": round(100 * idle, 2),
        "back_s": round(time.monotonic() - began, 1),  # from the restart of one server until all tunnels are back
        "back_cpu_s": round(one.cpu_seconds() - before, 2),  # of the server that was not restarted, meanwhile
        "back_cpu_of_restarted_s": round(pair.servers["two"].cpu_seconds(), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=100)
    arguments = parser.parse_args()
    lifecycle.raise_file_limit()
    found = {}
    for peers in (False, True):
        with tempfile.TemporaryDirectory() as directory:
            deployment = Deployment(Path(directory))
            authority = Authority.create("CA of the peers")
            (deployment.directory / "peer-ca.crt").write_bytes(authority.certificate_pem)
            authority.issue("peer", dns=("localhost",), server=True, client=True).write(deployment.directory, "peer")
            write_tenants(deployment, arguments.tenants)
            try:
                found["with peers" if peers else "alone"] = measure(Pair(deployment, peers), arguments.tenants)
            finally:
                deployment.stop()
    print(json.dumps({"tenants": arguments.tenants, **found}, indent=2))


if __name__ == "__main__":
    main()
