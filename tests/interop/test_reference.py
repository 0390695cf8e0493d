"""Tests of our programs with three versions of the reference: each client through each pair that has one of ours.

A server of the reference has one frontend, so a pair with it is started for each kind of frontend.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from contextlib import closing, suppress

import pytest
from egress_scenarios import EgressScenarios, unused_port

from konnectivity.testing.deployment import Deployment, free_port

VERSIONS = ("4f8517c1", "v0.36.0", "v0.31.0")
FRONTENDS = {  # frontend -> its clients
    "grpc": ("grpc-uds", "client-library", "grpc-uds-2024", "client-library-2024"),
    "connect-uds": ("connect-uds", "connect-uds-2024"),
    "connect-tls": ("connect-tls",),
}
OURS, ON_GRPCIO = "ours", "ours on grpcio"
PAIRS = [
    *((version, agent) for version in VERSIONS for agent in (OURS, ON_GRPCIO)),
    *((OURS, version) for version in VERSIONS),
]
COMBINATIONS = [
    ((server, agent, frontend), client)
    for server, agent in PAIRS
    for frontend, clients in FRONTENDS.items()
    for client in clients
]
pytestmark = pytest.mark.timeout(120)


def name(value):
    if isinstance(value, tuple):
        return f"server {value[0]}-agent {value[1]}-{value[2]}"
    return value


def pytest_generate_tests(metafunc):
    """Run every scenario with each combination; those of one pair follow each other."""
    if "client" in metafunc.fixturenames:
        metafunc.parametrize(("pair", "client"), COMBINATIONS, indirect=True, ids=name, scope="module")


def until_ready(health_port):
    """Wait until /readyz, which every server program has, reports that the server has an agent."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with closing(http.client.HTTPConnection("127.0.0.1", health_port, timeout=2)) as connection, suppress(OSError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server with the health port {health_port} did not become ready")


def frontend_flags(deployment, frontend):
    if frontend == "connect-tls":
        files = {"ca-cert": "ca.crt", "cert": "server.crt", "key": "server.key"}
        tls = [f"--server-{flag}={deployment.path(file)}" for flag, file in files.items()]
        return ["--mode=http-connect", f"--server-port={deployment.server_port}", *tls]
    mode = "grpc" if frontend == "grpc" else "http-connect"
    return [f"--mode={mode}", f"--uds-name={deployment.socket}", "--server-port=0"]


def reference_server(deployment, frontend):
    return [
        f"--agent-port={deployment.agent_port}",
        f"--admin-port={deployment.admin_port}",
        f"--health-port={deployment.health_port}",
        f"--cluster-ca-cert={deployment.path('ca.crt')}",
        f"--cluster-cert={deployment.path('server.crt')}",
        f"--cluster-key={deployment.path('server.key')}",
        *frontend_flags(deployment, frontend),
    ]


@pytest.fixture(scope="module")
def pair(request, reference, programs, tmp_path_factory):
    server, agent, frontend = request.param
    deployment = Deployment(tmp_path_factory.mktemp("pair"))
    if server == OURS:
        deployment.start_server()
    else:
        deployment.start_program(reference(server)[0], reference_server(deployment, frontend))
    if agent in VERSIONS:
        arguments = deployment.agent_arguments(health_port=free_port())
        deployment.start_program(reference(agent)[1], arguments)
    else:
        deployment.start_agent(*(["--grpc-implementation=grpcio"] if agent == ON_GRPCIO else []))
    until_ready(deployment.health_port)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def client(request, pair, kubelet, drivers):
    return drivers(pair, request.param, kubelet[1])


@pytest.fixture
def told_by_connect(request, told_by_connect):
    """Return the status phrase "502 Bad Gateway" where the reference's server gives no reason; else as for ours."""
    reference_server = "server ours" not in request.node.name
    return "502 Bad Gateway" if told_by_connect and reference_server else told_by_connect


@pytest.fixture
def answers_early(request):
    """Return whether the server answers a CONNECT with 200 before the agent has answered the dial."""
    return "server v0.31.0" in request.node.name and "-connect-" in request.node.name


def succeeds_early(result):
    """Check the result of a dial that fails after the 200; an error that arrived by then is data."""
    assert result["ok"] or "buffered data from CONNECT proxy" in result["error"], result


class TestReference(EgressScenarios):
    """Tests of every scenario with every client through every pair of ours and the reference."""

    def test_a_refused_dial_says_so(self, client, told_by_connect, answers_early):
        if answers_early:
            succeeds_early(client.run("dial", f"127.0.0.1:{unused_port()}"))
        else:
            super().test_a_refused_dial_says_so(client, told_by_connect)

    def test_an_unknown_host_says_so(self, client, told_by_connect, answers_early):
        if answers_early:
            succeeds_early(client.run("dial", "no-such-host.invalid:80"))
        else:
            super().test_an_unknown_host_says_so(client, told_by_connect)

    async def test_a_cancelled_dial_ends_at_once(self, client, answers_early):
        if answers_early:
            address = f"127.0.0.1:{unused_port()}"
            succeeds_early(await asyncio.to_thread(lambda: client.run("cancel", address, wait="500ms")))
        else:
            await super().test_a_cancelled_dial_ends_at_once(client)
