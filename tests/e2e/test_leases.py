"""Tests of servers that keep leases and of agents that count them, with an API server's behaviour on loopback."""

from __future__ import annotations

import http.client
import signal
import time

import pytest

from konnectivity.kube.labels import parse_selector
from konnectivity.testing.deployment import free_port
from support.kubernetes_api import KubernetesApi

COUNTING = ("--count-server-leases", "--sync-interval=1s", "--sync-interval-cap=60s")


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        yield api


class Servers:
    """Three servers with leases, on ports chosen in advance."""

    def __init__(self, deployment, api):
        self.deployment = deployment
        self.kubeconfig = f"--kubeconfig={api.kubeconfig(deployment.directory / 'kubeconfig')}"
        self.ports = {name: free_port() for name in ("one", "two", "three")}
        self.health = {name: free_port() for name in self.ports}
        self.processes = {}

    def start(self, name, *more):
        self.processes[name] = self.deployment.start_server(
            f"--server-id={name}",
            "--enable-lease-controller",
            self.kubeconfig,
            f"--agent-port={self.ports[name]}",
            f"--health-port={self.health[name]}",
            f"--admin-port={free_port()}",
            f"--server-port={free_port()}",
            f"--uds-name={self.deployment.path(name)}.sock",
            *more,
        )

    @property
    def hosts(self):
        return f"--proxy-server-host={','.join(f'127.0.0.1:{port}' for port in self.ports.values())}"


@pytest.fixture
def servers(fresh, api):
    return Servers(fresh, api)


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def known(agent):
    return metric(agent.health_port, "konnectivity_network_proxy_agent_known_server_count ")


def until(condition, seconds=10.0):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - started


def leases(api):
    return [each["metadata"]["name"] for each in api.objects.list("kube-system", parse_selector(""))["items"]]


@pytest.mark.parametrize("agent_counts", [True, False], ids=["the agent counts", "the servers count and say so"])
def test_a_new_server_has_every_agent_within_two_seconds(fresh, api, servers, agent_counts):
    servers.start("one")
    servers.start("two")
    until(lambda: len(leases(api)) == 2)
    flags = (*COUNTING, servers.kubeconfig) if agent_counts else COUNTING[1:]
    agents = [fresh.start_agent(servers.hosts, f"--agent-id=agent-{number}", *flags) for number in (1, 2)]
    for agent in agents:
        agent.wait_for("Connected to server", 2)
        until(lambda agent=agent: known(agent) == 2)
    time.sleep(4)  # the agent retries the third address at growing intervals
    started = time.monotonic()
    servers.start("three")
    for agent in agents:
        agent.wait_for("Connected to server", 3)
    assert time.monotonic() - started < 2
    assert all(known(agent) == 3 for agent in agents)


def test_a_server_that_goes_takes_its_lease_with_it(fresh, api, servers):
    for name in servers.ports:
        servers.start(name)
    until(lambda: len(leases(api)) == 3)
    agent = fresh.start_agent(servers.hosts, *COUNTING, servers.kubeconfig)
    until(lambda: known(agent) == 3)
    servers.processes["two"].send(signal.SIGTERM)
    assert servers.processes["two"].wait() == 0
    assert len(leases(api)) == 2
    until(lambda: known(agent) == 2)
    # A killed server leaves its lease behind; the lease counts until it expires.
    servers.processes["three"].send(signal.SIGKILL)
    time.sleep(1)
    assert known(agent) == 2


def test_an_api_that_is_away_ends_nothing(fresh, api, servers):
    servers.start("one")
    agent = fresh.start_agent(servers.hosts, *COUNTING, servers.kubeconfig)
    until(lambda: known(agent) == 1)
    api.down()
    time.sleep(2)
    assert metric(agent.health_port, "konnectivity_network_proxy_agent_open_server_connections ") == 1
    servers.start("two")  # the server starts and acquires its lease once the API is back
    agent.wait_for("Connected to server", 2)
    servers.processes["two"].wait_for("Leases fail, will keep trying")
    api.up()
    servers.processes["two"].wait_for("Lease published")
    until(lambda: known(agent) == 2)
