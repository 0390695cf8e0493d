"""Tests of several servers: every agent connects to all of them, drops those that end, and finds new ones."""

from __future__ import annotations

import http.client
import signal
import time
from dataclasses import dataclass

import pytest

from konnectivity.testing.deployment import Deployment, ProgramProcess, free_port
from support.balancer import HAPROXY, MISSING, Balancer


@dataclass
class Replica:
    """One of several servers, on ports of its own."""

    deployment: Deployment
    name: str
    count: int
    process: ProgramProcess | None = None

    def __post_init__(self) -> None:
        self.agent_port, self.health_port = free_port(), free_port()

    def start(self) -> None:
        self.process = self.deployment.start_server(
            f"--server-id={self.name}",
            f"--server-count={self.count}",
            f"--agent-port={self.agent_port}",
            f"--health-port={self.health_port}",
            f"--admin-port={free_port()}",
            f"--server-port={free_port()}",
            f"--uds-name={self.deployment.path(self.name)}.sock",
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def servers(fresh):
    made = [Replica(fresh, f"server-{number}", 3) for number in (1, 2, 3)]
    for one in made:
        one.start()
    return made


def scraped(agent, name):
    connection = http.client.HTTPConnection("127.0.0.1", agent.health_port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def connected(agent):
    return scraped(agent, "konnectivity_network_proxy_agent_open_server_connections ")


def until_connected(agent, count, seconds=10.0):
    started = time.monotonic()
    while connected(agent) != count:
        assert time.monotonic() - started < seconds, f"connected to {connected(agent)} servers, not {count}"
        time.sleep(0.02)
    return time.monotonic() - started


def test_with_direct_addresses_all_servers_are_found_at_once_and_again(fresh, servers):
    hosts = ",".join(f"127.0.0.1:{one.agent_port}" for one in servers)
    agent = fresh.start_agent(f"--proxy-server-host={hosts}")
    assert until_connected(agent, 3) < 2
    servers[1].kill()
    until_connected(agent, 2)
    servers[1].start()
    until_connected(agent, 3)


def test_the_flag_may_be_repeated(fresh, servers):
    hosts = [f"--proxy-server-host=127.0.0.1:{one.agent_port}" for one in servers]
    agent = fresh.start_agent(*hosts)
    until_connected(agent, 3)


def test_one_server_under_two_names_is_one_server(fresh):
    fresh.start_server("--agent-bind-address=")
    agent = fresh.start_agent(f"--proxy-server-host=127.0.0.1:{fresh.agent_port},localhost:{fresh.agent_port}")
    time.sleep(1)
    assert connected(agent) == 1
    assert agent.log.count("Connected to server") == 1


@pytest.fixture
def balancer(fresh, servers):
    """Run HAProxy in front of the servers and yield its port."""
    if HAPROXY is None:
        pytest.skip(MISSING)
    with Balancer(fresh.directory, free_port(), {one.name: one.agent_port for one in servers}) as balancer:
        yield balancer.port


def test_behind_a_balancer_all_servers_are_found(fresh, servers, balancer):
    agents = [fresh.start_agent(f"--agent-id=agent-{number}", port=balancer) for number in range(3)]
    for agent in agents:
        until_connected(agent, 3, seconds=20)
    servers[0].kill()
    for agent in agents:
        until_connected(agent, 2)
    servers[0].start()
    for agent in agents:
        until_connected(agent, 3, seconds=20)
    # A complete server pool causes no more log lines and connects.
    for agent in agents:
        agent.wait_for("Connected to server", times=4)
    before = [agent.log.count("\n") for agent in agents]
    time.sleep(1)
    assert [agent.log.count("\n") for agent in agents] == before


def test_an_agent_counts_on_what_the_servers_say(fresh, servers):
    agent = fresh.start_agent(port=servers[0].agent_port)
    time.sleep(0.5)
    assert connected(agent) == 1
    assert scraped(agent, "konnectivity_network_proxy_agent_known_server_count ") == 3


def test_an_agent_without_a_server_is_quiet_and_cheap(fresh):
    """An agent without a server retries at growing intervals and logs the failure once."""
    servers = [Replica(fresh, "server-1", 1)]
    servers[0].start()
    agent = fresh.start_agent(port=servers[0].agent_port)
    servers[0].kill()
    agent.wait_for("Cannot connect to the server, will keep trying")
    lines, cpu_s = agent.log.count("\n"), agent.cpu_seconds()
    time.sleep(6)
    assert agent.log.count("\n") == lines
    assert agent.cpu_seconds() - cpu_s < 0.3
    servers[0].start()
    agent.wait_for("Connected to server", 2, timeout_s=15)
