"""Tests of agents that send a service account token and of a server that has it reviewed, as Kamaji deploys them."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import free_port
from support import targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

AUDIENCE = "system:konnectivity-server"
USER = "system:serviceaccount:kube-system:konnectivity-agent"


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        api.add_token("good", USER, AUDIENCE)
        api.add_token("for-others", USER, "https://kubernetes.default.svc")
        api.add_token("somebody-else", "system:serviceaccount:default:mallory", AUDIENCE)
        yield api


@pytest.fixture
def kamaji(fresh, api):
    """Yield a deployment for Kamaji's arguments, on free ports."""
    fresh.kubeconfig = api.kubeconfig(fresh.directory / "konnectivity-server.conf")
    return fresh


def server_arguments(deployment):
    """Return the thirteen server arguments in Kamaji's order."""
    return [
        f"--admin-port={deployment.admin_port}",
        "--agent-namespace=kube-system",
        f"--agent-port={deployment.agent_port}",
        "--agent-service-account=konnectivity-agent",
        f"--authentication-audience={AUDIENCE}",
        f"--cluster-cert={deployment.path('server.crt')}",
        f"--cluster-key={deployment.path('server.key')}",
        f"--health-port={deployment.health_port}",
        f"--kubeconfig={deployment.kubeconfig}",
        "--mode=grpc",
        "--server-count=2",
        "--server-port=0",
        f"--uds-name={deployment.socket}",
    ]


def agent_arguments(deployment, token="good"):
    path = deployment.directory / f"token-{token}"
    path.write_text(f"{token}\n")
    return [
        f"--admin-server-port={free_port()}",
        f"--ca-cert={deployment.path('ca.crt')}",
        f"--health-server-port={free_port()}",
        "--logtostderr=true",
        "--proxy-server-host=127.0.0.1",
        f"--proxy-server-port={deployment.agent_port}",
        f"--service-account-token-path={path}",
        "-v=8",
    ]


def start(deployment, token="good"):
    server = deployment.start_package("konnectivity_server", server_arguments(deployment))
    server.wait_for("Proxy server started")
    return server, deployment.start_package("konnectivity_agent", agent_arguments(deployment, token))


async def test_kamajis_arguments_carry_an_echo(kamaji):
    server, agent = await asyncio.to_thread(start, kamaji)
    await asyncio.to_thread(agent.wait_for, "Connected to server")
    await asyncio.to_thread(server.wait_for, f'user="{USER}"')
    assert "good" not in server.log + agent.log.replace("token-good", "")
    async with listening(targets.echo) as address, connect(f"unix:{kamaji.socket}", "grpc") as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("unknown", "the token is not valid"),
        ("for-others", "token audiences"),
        ("somebody-else", "the service account is of namespace 'default', not 'kube-system'"),
    ],
)
def test_an_agent_with_a_wrong_token_is_refused_and_tries_again(kamaji, token, reason):
    server, agent = start(kamaji, token)
    agent.wait_for("Cannot connect to the server")
    server.wait_for("Agent refused")
    server.wait_for(reason)
    assert "Agent connected" not in server.log
    # The agent rereads the token file before each connection attempt.
    (kamaji.directory / f"token-{token}").write_text("good")
    agent.wait_for("Connected to server")


def test_an_agent_without_a_token_is_refused(kamaji):
    server, _ = start(kamaji)
    bare = [each for each in agent_arguments(kamaji) if not each.startswith("--service-account")]
    agent = kamaji.start_package("konnectivity_agent", bare)
    agent.wait_for("Authentication context was not found in metadata")
    assert server.returncode is None


def test_an_api_that_is_down_at_the_start_refuses_agents_until_it_comes(kamaji, api):
    api.down()
    server, agent = start(kamaji)
    agent.wait_for("Cannot connect to the server")
    server.wait_for("cannot check the token")
    api.up()
    agent.wait_for("Connected to server")


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_an_api_that_fails_refuses_one_agent_and_nothing_else(kamaji, api, status):
    server, agent = start(kamaji)
    agent.wait_for("Connected to server")
    api.add_token("second", USER, AUDIENCE)
    api.fail("tokenreviews", status, times=1)
    other = kamaji.start_package("konnectivity_agent", agent_arguments(kamaji, "second"))
    other.wait_for("Connected to server", timeout_s=30)
    assert "Agent disconnected" not in server.log


def test_both_a_certificate_and_a_token(kamaji):
    server = kamaji.start_package(
        "konnectivity_server", [*server_arguments(kamaji), f"--cluster-ca-cert={kamaji.path('ca.crt')}"]
    )
    server.wait_for("Proxy server started")
    only_token = kamaji.start_package("konnectivity_agent", agent_arguments(kamaji))
    only_token.wait_for("Cannot connect to the server")
    pair = [f"--agent-cert={kamaji.path('client.crt')}", f"--agent-key={kamaji.path('client.key')}"]
    kamaji.start_package("konnectivity_agent", [*agent_arguments(kamaji), *pair]).wait_for("Connected to server")
    server.wait_for("Agent connected")


def test_a_broken_kubeconfig_is_one_line_and_exit_1(kamaji):
    kamaji.kubeconfig.write_text("clusters: [")
    server = kamaji.start_package("konnectivity_server", server_arguments(kamaji))
    assert server.wait() == 1
    assert "Traceback" not in server.log
    assert str(kamaji.kubeconfig) in server.log.splitlines()[-1]


def test_a_burst_of_agents_with_one_token_is_one_review(kamaji, api):
    server, agent = start(kamaji)
    agent.wait_for("Connected to server")
    before = api.requests["tokenreviews"]
    for _ in range(3):
        kamaji.start_package("konnectivity_agent", agent_arguments(kamaji)).wait_for("Connected to server")
    assert api.requests["tokenreviews"] == before
    server.wait_for("Agent connected", times=4)
    assert server.log.count("Agent connected") == 4  # once per agent
