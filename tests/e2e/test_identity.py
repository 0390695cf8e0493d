"""Tests of agents that claim their own addresses, the addresses of others, or the id of another agent."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment
from konnectivity.tool.pki.authority import Authority
from support import targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

AUDIENCE = "system:konnectivity-server"
USER = "system:serviceaccount:kube-system:konnectivity-agent"


def metric(deployment, name):
    url = f"http://127.0.0.1:{deployment.health_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = re.search(
            rf"^konnectivity_network_proxy_{re.escape(name)} (\d+)$", answer.read().decode(), re.MULTILINE
        )
    return int(found[1]) if found else None


@pytest.fixture
def nodes(fresh):
    """Yield a deployment whose agents node-7 and node-8 have certificates of their own."""
    authority = Authority.create("agents' CA")
    (fresh.directory / "agents-ca.crt").write_bytes(authority.certificate_pem)
    for number in (7, 8):
        names = {"dns": (f"node-{number}",), "ips": (f"10.0.0.{number}",)}
        authority.issue(f"node-{number}", client=True, **names).write(fresh.directory, f"node-{number}")
    gateway = "konnectivity:cidr=127.0.0.0/8&default-route=true"
    authority.issue("gateway", client=True, uris=(gateway,)).write(fresh.directory, "gateway")
    return fresh


def start_server(nodes: Deployment, *more: str):
    return nodes.start_server(f"--cluster-ca-cert={nodes.path('agents-ca.crt')}", *more)


def agent(nodes: Deployment, name: str, claims: str, *more: str):
    credential = [f"--agent-cert={nodes.path(f'{name}.crt')}", f"--agent-key={nodes.path(f'{name}.key')}"]
    arguments = nodes.agent_arguments(*credential, f"--agent-identifiers={claims}", *more)
    return nodes.start_package("konnectivity_agent", arguments)


def test_an_agent_gets_no_address_of_another_one(nodes):
    server = start_server(nodes, "--agent-identity=certificate-san")
    agent(nodes, "node-7", "ipv4=10.0.0.7&host=node-7", "--agent-id=a7").wait_for("Connected to server")
    thief = agent(nodes, "node-8", "ipv4=10.0.0.7&host=node-8", "--agent-id=a8")
    text = "agent 'a8' claims ipv4=10.0.0.7; its credential vouches for ipv4=10.0.0.8 host=node-8"
    thief.wait_for(text)
    server.wait_for("Agent's claim refused")
    server.wait_for(text)
    server.wait_for("certificate commonName=node-8")
    end = time.monotonic() + 20
    while metric(nodes, 'server_agent_claims_refused_total{claim="ipv4"}') < 2:  # the agent retries
        assert time.monotonic() < end
        time.sleep(0.05)
    server.wait_for("Agent connected")
    assert server.log.count("Agent's claim refused") == 1
    assert server.log.count("Agent connected") == 1


async def test_a_gateway_with_a_grant_in_its_certificate(nodes):
    start_server(nodes, "--agent-identity=certificate-san", "--proxy-strategies=destHost")
    gateway = await asyncio.to_thread(agent, nodes, "gateway", "cidr=127.0.0.0/16&default-route=true")
    await asyncio.to_thread(gateway.wait_for, "Connected to server")
    async with listening(targets.echo) as address, connect(**nodes.frontend("grpc", unix=True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()


def test_by_default_anything_may_be_claimed(nodes):
    start_server(nodes)
    agent(nodes, "node-8", "ipv4=10.0.0.7").wait_for("Connected to server")


async def test_two_agents_with_one_id_are_kept_apart(nodes):
    server = start_server(nodes, "-v=0", "--proxy-strategies=destHost")
    first = await asyncio.to_thread(agent, nodes, "node-7", "host=127.0.0.1", "--agent-id=same")
    await asyncio.to_thread(first.wait_for, "Connected to server")
    async with listening(targets.echo) as address, connect(**nodes.frontend("grpc", unix=True)) as tunnel:
        reader, writer = await tunnel.dial(address)
        other = await asyncio.to_thread(agent, nodes, "node-8", "host=127.0.0.2", "--agent-id=same")
        await asyncio.to_thread(server.wait_for, "Two agents with one id")
        await asyncio.to_thread(server.wait_for, "Agent connected", 2)  # logged even with -v=0
        await asyncio.to_thread(server.wait_for, "certificate commonName=node-8")
        await asyncio.to_thread(server.wait_for, "certificate commonName=node-7")
        assert metric(nodes, "server_agent_id_conflicts_total") == 1
        assert metric(nodes, 'server_ready_backends{proxy_strategy="destHost"}') == 2
        await asyncio.to_thread(other.stop)
        writer.write(b"unharmed")
        assert await reader.readexactly(8) == b"unharmed"
        writer.close()
    again = await asyncio.to_thread(agent, nodes, "node-7", "host=127.0.0.3", "--agent-id=same")
    await asyncio.to_thread(again.wait_for, "Connected to server")
    assert metric(nodes, "server_agent_id_conflicts_total") == 1  # a conflict needs another credential


def test_a_token_vouches_for_its_node(fresh, tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        api.add_token("good", USER, AUDIENCE)
        api.add_pod("good", "kube-system", "agent-x", "node-7", "10.0.0.7")
        server = fresh.start_server(
            "--agent-identity=token",
            "--agent-namespace=kube-system",
            "--agent-service-account=konnectivity-agent",
            f"--authentication-audience={AUDIENCE}",
            f"--kubeconfig={api.kubeconfig(tmp_path / 'kubeconfig')}",
        )
        token = tmp_path / "token"
        token.write_text("good")
        show = f"--service-account-token-path={token}"
        fresh.start_agent(show, "--agent-identifiers=ipv4=10.0.0.7&host=node-7")
        assert f"token of {USER} on node node-7" not in server.log  # a valid claim is not reported
        liar = fresh.start_package(
            "konnectivity_agent", fresh.agent_arguments(show, "--agent-id=liar", "--agent-identifiers=ipv4=10.0.0.8")
        )
        liar.wait_for("agent 'liar' claims ipv4=10.0.0.8; its credential vouches for ipv4=10.0.0.7 host=node-7")
        server.wait_for("on node node-7")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ("--agent-identity=certificate-san --cluster-ca-cert=", "certificate-san needs --cluster-ca-cert"),
        ("--agent-identity=token", "--agent-identity=token needs --agent-namespace"),
        ("--agent-identity=certificate-san --grpc-implementation=grpcio", "needs --grpc-implementation=native"),
    ],
)
def test_what_cannot_vouch(fresh, flags, problem):
    server = fresh.start_package("konnectivity_server", fresh.server_arguments(*flags.split(), "--mode=grpc"))
    assert server.wait() == 1
    assert problem in server.log
