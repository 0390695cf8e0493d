"""Fixtures with Go programs of production as peers, built once. Modules of this folder can import each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from reference_pairs import RunningPair, run_pairs, selected

from konnectivity.testing.deployment import Deployment
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.targets import listening

ROOT = Path(__file__).parent.parent.parent
BIN = ROOT / ".cache" / "bin"
RUN_TIMEOUT_S = 55


@pytest.fixture(scope="session")
def programs():
    """Build the Go programs and return their folder."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("go is not installed (1.26 or newer is needed)")
    subprocess.run(["sh", str(Path(__file__).parent / "build.sh")], check=True, timeout=900)
    return BIN


@dataclass
class Driver:
    """Command that runs one scenario of kube-apiserver's client through a server."""

    arguments: list[str]
    ca: str
    program: str = "driver"

    def start(self, scenario, target, **options):
        flags = [f"--{name}={value}" for name, value in options.items()]
        command = [str(BIN / self.program), *self.arguments, f"--ca={self.ca}", *flags, scenario, target]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        out, errors = process.communicate(timeout=RUN_TIMEOUT_S)
        assert out, errors
        return json.loads(out)

    def run(self, scenario, target, **options):
        """Run the scenario and return its result."""
        return self.finish(self.start(scenario, target, **options))

    def ok(self, scenario, target, **options):
        result = self.run(scenario, target, **options)
        assert result["ok"], result.get("error")
        return result["detail"]

    def error(self, scenario, target, **options):
        result = self.run(scenario, target, **options)
        assert not result["ok"]
        return result["error"]


def driver(deployment: Deployment, transport: str, ca: str, socket: str = "") -> Driver:
    """Return a driver with kube-apiserver's egress configuration for one transport.

    A transport whose name ends in -2024 uses the client libraries of 2024.
    """
    socket = socket or deployment.socket
    program = "driver-2024" if transport.endswith("-2024") else "driver"
    transport = transport.removesuffix("-2024")
    if transport == "reusable-tunnel":
        return Driver([f"--socket={socket}", "--reuse"], ca, "driver-reusable")
    if transport == "client-library":
        return Driver([f"--socket={socket}"], ca, program)
    connection = egress_connection(deployment, transport, socket)
    path = deployment.directory / f"egress-{transport}.json"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "apiserver.k8s.io/v1beta1",
                "kind": "EgressSelectorConfiguration",
                "egressSelections": [{"name": "cluster", "connection": connection}],
            }
        )
    )
    return Driver([f"--egress-config={path}"], ca, program)


def egress_connection(deployment: Deployment, transport: str, socket: str) -> dict[str, object]:
    """Return the `connection` of an egress selection for one transport to the server of a deployment."""
    tls = {
        "caBundle": deployment.path("ca.crt"),
        "clientCert": deployment.path("client.crt"),
        "clientKey": deployment.path("client.key"),
    }
    tcp = {"url": f"https://127.0.0.1:{deployment.server_port}", "tlsConfig": tls}
    return {
        "direct": {"proxyProtocol": "Direct"},
        "grpc-uds": {"proxyProtocol": "GRPC", "transport": {"uds": {"udsName": socket}}},
        "connect-uds": {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": socket}}},
        "connect-tls": {"proxyProtocol": "HTTPConnect", "transport": {"tcp": tcp}},
    }[transport]


@pytest.fixture(scope="session")
def drivers(programs):
    """Return a function that makes a driver for a deployment and a transport."""
    return driver


@pytest.fixture(scope="session")
def kubelet(programs, tmp_path_factory):
    """Run a kubelet-like HTTPS server; yield its address and the path of its CA certificate."""
    directory = tmp_path_factory.mktemp("kubelet")
    authority = Authority.create("kubelet CA")
    ca = authority.write(directory)
    cert, key = authority.issue("node", dns=("localhost",), ips=("127.0.0.1",), server=True).write(directory, "node")
    process = subprocess.Popen(
        [str(programs / "kubelet"), f"--cert={cert}", f"--key={key}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield address, str(ca)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
async def echo():
    async with listening(targets.echo) as address:
        yield address


@pytest.fixture(scope="session")
def reference():
    """Return a function: version -> paths of the reference's server and agent, built once."""
    if "REFERENCE_SOURCES" not in os.environ:
        pytest.skip("REFERENCE_SOURCES does not name the sources of the reference (head of tests/interop/reference.sh)")
    subprocess.run(["sh", str(Path(__file__).parent / "reference.sh")], check=True, timeout=1200)
    return lambda version: tuple(BIN / f"reference-{version}" / name for name in ("proxy-server", "proxy-agent"))


@pytest.fixture(scope="module")
def on_selected_pairs(request, reference, programs, tmp_path_factory):
    """Return a function that does the same work with a pair of each pairing whose tests are selected in this module.

    The function returns the outcomes by pairing; a test of each pairing then reports its own.
    """

    def new_pair(pairing):
        return RunningPair(pairing, tmp_path_factory.mktemp("pair"), programs, reference)

    return lambda work, at_once=4: uvloop.run(run_pairs(work, new_pair, selected(request, "pairing"), at_once))
