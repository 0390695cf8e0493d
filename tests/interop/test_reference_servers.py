"""Tests of agents that find several servers, and of dials that find one of several agents, in both kinds at once.

Three servers of ours have one agent of each version of the reference, and servers of the reference have our agents. The
agents learn the number of servers from leases, or from the servers. All agents of a kind share a set of servers. With
leases no server is v0.31.0, which takes no client CA for agents then.
"""

from __future__ import annotations

import asyncio
import signal

import pytest
import uvloop
from reference_pairs import (
    NEWEST,
    ON_GRPCIO,
    OURS,
    VERSIONS,
    echo_once,
    eventually,
    metrics,
    reference_server,
    result,
    selected,
    side_by_side,
    start_agent,
)

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment, free_port
from support import targets
from support.balancer import HAPROXY, MISSING, Balancer
from support.kubernetes_api import KubernetesApi
from support.targets import listening

OURS_SERVE, REFERENCE_SERVES = "servers ours, agents of the reference", "servers of the reference, agents ours"
SETS = {  # kinds of the servers, kinds of the agents
    (OURS_SERVE, "leases"): ((OURS,) * 3, VERSIONS),
    (OURS_SERVE, "server count"): ((OURS,) * 3, VERSIONS),
    (REFERENCE_SERVES, "leases"): ((NEWEST, "v0.36.0", "v0.36.0"), (OURS, ON_GRPCIO)),
    (REFERENCE_SERVES, "server count"): (VERSIONS, (OURS, ON_GRPCIO)),
}
FOUND_S = 60.0  # agents draw servers at random behind the load balancer; CI machines are slow
pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(HAPROXY is None, reason=MISSING)]


class ServerSet:
    """Servers of any kinds behind one port for agents. Owns their processes, ports and sockets."""

    def __init__(self, directory, programs, reference, kinds, flags):
        self.deployment = Deployment(directory)
        self._programs = programs
        self._reference = reference
        self._kinds = dict(zip(("one", "two", "three"), kinds, strict=False))
        self._flags = flags
        self.ports = {name: free_port() for name in self._kinds}
        self.admin_ports = {name: free_port() for name in self._kinds}
        self.balancer = Balancer(directory, free_port(), self.ports)
        self.running = {}

    def start(self, name):
        health_port = free_port()
        flags = [
            f"--server-id=server-{name}",
            f"--agent-port={self.ports[name]}",
            f"--health-port={health_port}",
            f"--admin-port={self.admin_ports[name]}",
            f"--uds-name={self.socket(name)}",
            *self._flags,
        ]
        kind = self._kinds[name]
        if kind == OURS:
            self.running[name] = self.deployment.start_server(f"--server-port={free_port()}", *flags)
        else:
            arguments = [*reference_server(self.deployment, "connect-uds"), *flags]
            self.running[name] = self.deployment.start_program(self._reference(kind)[0], arguments)

    def stop(self, name):
        """Tell a server to leave, so that its lease goes with it."""
        program = self.running.pop(name)
        program.send(signal.SIGTERM)
        assert program.wait(30) == 0

    def start_agent(self, kind, *flags):
        return start_agent(self.deployment, kind, self._programs, self._reference, *flags, port=self.balancer.port)

    def socket(self, name):
        return self.deployment.path(f"{name}.sock")

    def agents_of(self, name):
        return metrics(self.admin_ports[name]).get("server_ready_backend_connections", 0)

    def default_routes_of(self, name):
        return metrics(self.admin_ports[name]).get('server_ready_backends{proxy_strategy="defaultRoute"}')

    async def all_have(self, agents):
        """Wait until each running server has each agent, and dial through each server."""
        for name in self.running:
            await eventually(lambda name=name: self.agents_of(name) == agents, f"server {name} has its agents", FOUND_S)
        async with listening(targets.echo) as address:
            for name in self.running:
                await self.echo(name, address)

    async def echo(self, name, address):
        async with connect(f"unix:{self.socket(name)}", mode="http-connect") as tunnel:
            (await echo_once(tunnel, address)).close()


async def count_is(agents, known, connected):
    """Wait until each agent knows a number of servers and is connected to a number of them."""
    expected = {"agent_known_server_count": known, "agent_open_server_connections": connected}.items()
    for agent in agents:
        what = f"the agent of {agent.log_path} knows {known} servers and is connected to {connected}"
        await eventually(lambda agent=agent: expected <= metrics(agent.health_port).items(), what, FOUND_S)


async def find_servers(servers, agent_kinds, agent_flags, by_leases):
    """Start two servers and the agents, add a server, and remove one; each time the agents have all servers."""
    for name in ("one", "two"):
        await asyncio.to_thread(servers.start, name)
    agents = [await asyncio.to_thread(servers.start_agent, kind, *agent_flags) for kind in agent_kinds]
    await servers.all_have(len(agents))
    await count_is(agents, 2 if by_leases else 3, 2)
    await asyncio.to_thread(servers.start, "three")
    await servers.all_have(len(agents))
    await count_is(agents, 3, 3)
    await asyncio.to_thread(servers.stop, "one")
    await count_is(agents, 2 if by_leases else 3, 2)
    await servers.all_have(len(agents))


@pytest.fixture(scope="module")
def outcomes(request, reference, programs, tmp_path_factory):
    async def one(key):
        (server_kinds, agent_kinds), by_leases = SETS[key], key[1] == "leases"
        directory = tmp_path_factory.mktemp("servers")
        with KubernetesApi(directory / "api") as api:
            reading = [f"--kubeconfig={api.kubeconfig(directory / 'kubeconfig')}"]
            reading.append("--kube-api-content-type=application/json")
            flags = [*reading, "--enable-lease-controller"] if by_leases else ["--server-count=3"]
            servers = ServerSet(directory, programs, reference, server_kinds, flags)
            agent_flags = ["--sync-interval-cap=500ms", *([*reading, "--count-server-leases"] if by_leases else [])]
            with servers.balancer:
                try:
                    await find_servers(servers, agent_kinds, agent_flags, by_leases)
                finally:
                    await asyncio.to_thread(servers.deployment.stop)

    return uvloop.run(side_by_side(one, selected(request, "key"), at_once=2))


@pytest.mark.parametrize("key", SETS, ids=", ".join)
def test_agents_find_all_servers(outcomes, key):
    result(outcomes[key])


async def test_dials_find_the_agent_of_either_kind_by_its_identifiers(reference, programs, tmp_path):
    """A server of each kind has an agent of each kind; the address, then the default route, then any agent decides."""
    flags = ["--server-count=2", "--proxy-strategies=destHost,defaultRoute,default"]
    servers = ServerSet(tmp_path, programs, reference, (OURS, NEWEST), flags)
    identifiers = {OURS: "ipv4=127.0.0.2", NEWEST: "ipv4=127.0.0.3&default-route=true"}
    expected = {"127.0.0.2": OURS, "127.0.0.3": NEWEST, "127.0.0.4": NEWEST}
    with servers.balancer:
        try:
            for name in ("one", "two"):
                await asyncio.to_thread(servers.start, name)
            agents = {
                kind: await asyncio.to_thread(servers.start_agent, kind, f"--agent-identifiers={text}")
                for kind, text in identifiers.items()
            }
            await count_is(agents.values(), 2, 2)
            for name in servers.running:
                for host, kind in expected.items():
                    async with listening(targets.echo, host) as address:
                        before = dials_of(agents[kind])
                        await servers.echo(name, address)
                        assert dials_of(agents[kind]) == before + 1, f"{name}: {host} is for the agent {kind}"
            agents[NEWEST].send(signal.SIGKILL)
            for name in servers.running:
                await eventually(
                    lambda name=name: servers.default_routes_of(name) == 0, f"server {name} lost its agent"
                )
                async with listening(targets.echo, "127.0.0.3") as address:
                    await servers.echo(name, address)
            assert dials_of(agents[OURS]) == 4
        finally:
            await asyncio.to_thread(servers.deployment.stop)


def dials_of(agent):
    return metrics(agent.health_port).get("agent_dial_duration_seconds_count", 0)
