"""Several servers: every agent finds all of them, loses those that go, and finds those that come."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from konnectivity.testing.deployment import Deployment, Process, free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@dataclass
class Replica:
    """One of several servers, on ports of its own."""

    deployment: Deployment
    name: str
    count: int
    process: Process | None = None

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
    """HAProxy in front of the servers; yields its port."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed (apt-get install haproxy)")
    port = free_port()
    lines = "\n".join(f"  server {one.name} 127.0.0.1:{one.agent_port} check inter 200ms" for one in servers)
    config = fresh.directory / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend agents\n  bind 127.0.0.1:{port}\n  default_backend servers\n"
        f"backend servers\n  balance random\n{lines}\n"
    )
    process = subprocess.Popen(
        [HAPROXY, "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield port
    process.terminate()
    process.wait(10)


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
    # And then it is quiet: no server missing, nothing drawn.
    before = [agent.log.count("\n") for agent in agents]
    time.sleep(1)
    assert [agent.log.count("\n") for agent in agents] == before


def test_an_agent_counts_on_what_the_servers_say(fresh, servers):
    agent = fresh.start_agent(port=servers[0].agent_port)
    time.sleep(0.5)
    assert connected(agent) == 1
    assert scraped(agent, "konnectivity_network_proxy_agent_known_server_count ") == 3
