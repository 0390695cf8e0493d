"""Tests of our Python client and doctor with a server of the reference: both frontends, both services."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from test_reference import reference_server, until_ready

from konnectivity.client import connect
from konnectivity.errors import DialError
from konnectivity.testing.deployment import Deployment, free_port
from konnectivity.tool.doctor import service_probe

MODES = {"grpc": "grpc", "http-connect": "connect-uds"}  # of our client -> frontend of the server
SIZE = 1 << 20
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=MODES)
def site(request, reference, tmp_path_factory):
    """Yield a server and an agent of the reference, and the mode of the server's frontend."""
    server, agent = reference("4f8517c1")
    deployment = Deployment(tmp_path_factory.mktemp("tools"))
    deployment.start_program(server, reference_server(deployment, MODES[request.param]))
    deployment.start_program(agent, deployment.agent_arguments(health_port=free_port()))
    until_ready(deployment.health_port)
    yield deployment, request.param
    deployment.stop()


async def test_the_client_dials_through_it(site, echo):
    deployment, mode = site
    async with connect(f"unix:{deployment.socket}", mode=mode) as tunnel:
        reader, writer = await tunnel.dial(echo, timeout_s=10)
        writer.write(b"k" * SIZE)
        assert len(await reader.readexactly(SIZE)) == SIZE
        writer.close()


async def test_the_client_tells_why_a_dial_failed(site):
    deployment, mode = site
    async with connect(f"unix:{deployment.socket}", mode=mode) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial(f"127.0.0.1:{free_port()}", timeout_s=10)


@pytest.fixture(scope="module")
def grpc_over_tls(reference, tmp_path_factory):
    """Yield a server of the reference whose frontend is gRPC over TCP with mutual TLS."""
    deployment = Deployment(tmp_path_factory.mktemp("tls"))
    flags = reference_server(deployment, "connect-tls")
    deployment.start_program(reference("4f8517c1")[0], [*flags, "--mode=grpc"])
    deployment.start_program(reference("4f8517c1")[1], deployment.agent_arguments(health_port=free_port()))
    until_ready(deployment.health_port)
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("port", ["server_port", "agent_port"])
async def test_the_doctor_tells_its_frontend_from_its_agents_port(grpc_over_tls, port):
    context = ssl.create_default_context(cafile=grpc_over_tls.path("ca.crt"))
    context.load_cert_chain(grpc_over_tls.path("client.crt"), grpc_over_tls.path("client.key"))
    context.set_alpn_protocols(["h2"])

    async def dial():
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", getattr(grpc_over_tls, port)))
        return sock

    answer = await service_probe.knock(dial, context, "localhost", timeout_s=10)
    assert (answer.frontend, answer.agents) == (port == "server_port", port == "agent_port"), answer
