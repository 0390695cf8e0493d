"""Tests of our Python client with a server and an agent of the reference, by both kinds of frontends."""

from __future__ import annotations

import pytest
from reference_pairs import NEWEST, reference_server, wait_for_agent

from konnectivity.client import connect
from konnectivity.errors import DialError
from konnectivity.testing.deployment import Deployment, free_port

MODES = {"grpc": "grpc", "http-connect": "connect-uds"}  # mode of our client -> frontend of the server
SIZE = 1 << 20
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=MODES)
def site(request, reference, tmp_path_factory):
    """Yield a deployment with a server and an agent of the reference, and the mode of the server's frontend."""
    server, agent = reference(NEWEST)
    deployment = Deployment(tmp_path_factory.mktemp("client"))
    try:
        deployment.start_program(server, reference_server(deployment, MODES[request.param]))
        deployment.start_program(agent, deployment.agent_arguments(health_port=free_port()))
        wait_for_agent(deployment)
        yield deployment, request.param
    finally:
        deployment.stop()


async def test_our_client_dials_through_programs_of_the_reference(site, echo):
    deployment, mode = site
    async with connect(f"unix:{deployment.socket}", mode=mode) as tunnel:
        reader, writer = await tunnel.dial(echo, timeout_s=10)
        writer.write(b"k" * SIZE)
        assert await reader.readexactly(SIZE) == b"k" * SIZE
        writer.close()


async def test_our_client_raises_a_dial_error_for_a_port_without_a_listener(site):
    deployment, mode = site
    async with connect(f"unix:{deployment.socket}", mode=mode) as tunnel:
        with pytest.raises(DialError):
            await tunnel.dial(f"127.0.0.1:{free_port()}", timeout_s=10)
