"""Tests of kube-apiserver's egress selector and the konnectivity client library with our server and agent.

The matrix: client {egress selector over gRPC on a unix socket, HTTP CONNECT on a unix socket, HTTP CONNECT on TCP with
TLS, the client library, the client library with one connection for all dials; all but the third and the last also as of
two years ago} x pair {ours, ours on the reference protocol, our agent on grpcio, an agent on grpc-go}. The clients of
two years ago move 2 MiB in each transfer, the others 20 MiB.
"""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
import uvloop
from egress_scenarios import LARGE, SCENARIOS, SMALL, EgressClient, outcomes
from reference_pairs import deployment_in, go_agent, result

from konnectivity.testing.deployment import Deployment

TRANSPORTS = ("grpc-uds", "connect-uds", "connect-tls", "client-library")
CLIENTS = (*TRANSPORTS, "reusable-tunnel", "grpc-uds-2024", "connect-uds-2024", "client-library-2024")
pytestmark = pytest.mark.timeout(120)

PAIRS = {
    "ours": ((), ()),
    "agent-on-grpcio": ((), ("--grpc-implementation=grpcio",)),
    "established-wire": (("--konnectivity-extension=false",), ("--konnectivity-extension=false",)),
    "agent-in-go": ((), None),
}


@pytest.fixture(scope="module", params=PAIRS)
def pair(request, programs, tmp_path_factory):
    deployment = deployment_in(tmp_path_factory.mktemp(request.param))
    server, agent = PAIRS[request.param]
    deployment.start_server(*server)
    if agent is None:
        arguments = [f"--server=127.0.0.1:{deployment.agent_port}", *go_agent(deployment)]
        deployment.start_program(programs / "peer", arguments).wait_for("connected")
    else:
        deployment.start_agent(*agent)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def cells(pair, kubelet, drivers):
    """Run all cells of a pair side by side; return their outcomes by client and scenario."""
    clients = {
        name: EgressClient(
            drivers(pair, name, kubelet[1]),
            kubelet[0],
            SMALL if name.endswith("-2024") else LARGE,
            "502 dial tcp" if name.startswith("connect-") else "",
        )
        for name in CLIENTS
    }
    return uvloop.run(outcomes(clients, SCENARIOS))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_has_the_expected_outcome_of_a_scenario(cells, client, scenario):
    result(cells[client, scenario])


async def test_many_scenarios_leave_nothing_behind(pair, cells):
    """After all scenarios the server counts no connection as open."""
    import http.client

    def established():
        connection = http.client.HTTPConnection("127.0.0.1", pair.health_port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        names = ("established_connections ", "pending_backend_dials ", "http_connections ", "buffered_bytes ")
        return [line for line in text.splitlines() for name in names if f"server_{name}" in line and line[0] != "#"]

    end = time.monotonic() + 15
    while not all(line.endswith(" 0") for line in await asyncio.to_thread(established)):
        assert time.monotonic() < end, established()
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_agent_that_restarts(drivers, fresh_pair, kubelet, transport, echo):
    """A connection through a restarted agent breaks; the next dial goes through the new agent."""
    deployment, agent = fresh_pair
    client = drivers(deployment, transport, kubelet[1])
    held = client.start("hold", echo)
    assert held.stderr is not None
    assert await asyncio.to_thread(held.stderr.readline) == "holding\n"
    agent.send(signal.SIGKILL)
    detail = (await asyncio.to_thread(client.finish, held))["detail"]
    assert detail["seconds"] < 5
    await asyncio.to_thread(deployment.start_agent)
    assert await asyncio.to_thread(client.ok, "echo", echo) == 1


@pytest.fixture
def fresh_pair(tmp_path):
    deployment = Deployment(tmp_path)
    deployment.start_server()
    agent = deployment.start_agent()
    yield deployment, agent
    deployment.stop()


async def test_a_draining_agent_keeps_its_connections(fresh_pair, kubelet, drivers, echo):
    deployment, agent = fresh_pair
    client = drivers(deployment, "grpc-uds", kubelet[1])
    held = client.start("hold", echo)
    assert held.stderr is not None
    await asyncio.to_thread(held.stderr.readline)
    agent.send(signal.SIGTERM)
    await asyncio.sleep(1)
    assert held.poll() is None
    held.kill()
    await asyncio.to_thread(held.communicate)
    assert await asyncio.to_thread(agent.wait) == 0


def test_direct_needs_no_server(drivers, tmp_path, kubelet):
    client = drivers(Deployment(tmp_path), "direct", kubelet[1])
    assert client.ok("https", kubelet[0])["text"] == "hello by HTTP/2.0"
