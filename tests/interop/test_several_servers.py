"""Tests of three servers behind a load balancer, with our agents and grpc-go agents that count leases.

One server runs on our HTTP/2, one speaks the reference protocol only, one runs on grpcio. kube-apiserver is the client.
"""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from konnectivity.testing.deployment import Deployment, free_port
from support import targets
from support.balancer import HAPROXY, MISSING, Balancer
from support.kubernetes_api import KubernetesApi
from support.targets import listening

SERVERS = {
    "native": (),
    "established": ("--konnectivity-extension=false",),
    "grpcio": ("--grpc-implementation=grpcio", "--mode=grpc"),
}
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(HAPROXY is None, reason=MISSING)]


class Servers:
    """Three servers, each with its own frontend, behind one port for agents."""

    def __init__(self, deployment, api):
        self.deployment = deployment
        self.ports = {name: free_port() for name in SERVERS}
        self.kubeconfig = f"--kubeconfig={api.kubeconfig(deployment.directory / 'kubeconfig')}"
        self.processes = {}

    def socket(self, name):
        return self.deployment.path(f"{name}.sock")

    def start(self, name):
        self.processes[name] = self.deployment.start_server(
            f"--server-id={name}-{time.monotonic_ns()}",  # a new id for each start, like a pod's name
            "--enable-lease-controller",
            self.kubeconfig,
            f"--agent-port={self.ports[name]}",
            f"--health-port={free_port()}",
            f"--admin-port={free_port()}",
            f"--server-port={free_port()}",
            f"--uds-name={self.socket(name)}",
            *SERVERS[name],
        )
        self.processes[name].wait_for("Lease published")


@pytest.fixture
def servers(tmp_path):
    deployment = Deployment(tmp_path)
    with KubernetesApi(tmp_path / "api") as api:
        yield Servers(deployment, api)
        deployment.stop()


def start_agent(kind, programs, servers, port):
    deployment = servers.deployment
    if kind == "ours":
        counting = ("--count-server-leases", servers.kubeconfig, "--sync-interval-cap=500ms")
        return deployment.start_agent(f"--proxy-server-host=127.0.0.1:{port}", *counting)
    files = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}
    paths = [f"--{flag}={deployment.path(name)}" for flag, name in files.items()]
    agent = deployment.start_program(programs / "peer", [f"--server=127.0.0.1:{port}", *paths])
    agent.wait_for("connected")
    return agent


async def every_server_carries(servers, drivers, echo, seconds=25):
    """Check that kube-apiserver's client gets an echo through each server's own frontend."""
    end = time.monotonic() + seconds
    for name in SERVERS:
        client = drivers(servers.deployment, "grpc-uds", "", socket=servers.socket(name))
        while not (result := await asyncio.to_thread(client.run, "echo", echo, size=100_000))["ok"]:
            assert time.monotonic() < end, (name, result)
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("kind", ["ours", "agent-in-go"])
async def test_an_agent_finds_every_server(kind, programs, servers, drivers):
    for name in SERVERS:
        await asyncio.to_thread(servers.start, name)
    port = free_port()
    with Balancer(servers.deployment.directory, port, servers.ports):
        async with listening(targets.echo) as echo:
            await asyncio.to_thread(start_agent, kind, programs, servers, port)
            await every_server_carries(servers, drivers, echo)
            servers.processes["established"].send(signal.SIGKILL)
            await asyncio.to_thread(servers.start, "established")
            await every_server_carries(servers, drivers, echo)


async def test_both_kinds_of_agents_side_by_side_through_a_rollout(programs, servers, drivers):
    """Servers are replaced one by one; afterwards all are reached through agents of both kinds."""
    for name in SERVERS:
        await asyncio.to_thread(servers.start, name)
    port = free_port()
    with Balancer(servers.deployment.directory, port, servers.ports):
        async with listening(targets.echo) as echo:
            ours = await asyncio.to_thread(start_agent, "ours", programs, servers, port)
            other = await asyncio.to_thread(start_agent, "agent-in-go", programs, servers, port)
            for name in SERVERS:
                servers.processes[name].send(signal.SIGTERM)
                assert await asyncio.to_thread(servers.processes[name].wait, 40) == 0
                await asyncio.to_thread(servers.start, name)
                await every_server_carries(servers, drivers, echo)
            other.stop()
            await every_server_carries(servers, drivers, echo)
            assert ours.returncode is None
