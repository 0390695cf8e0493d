"""The exact argument lists of those who deploy the established programs, with our programs, doing their job.

What is replaced: directories, ports and host names, as everything here runs on one host. Nothing is added but the ports
that a list leaves to their defaults.
"""

from __future__ import annotations

import asyncio
import http.client
import signal
import stat
import tempfile
import time
import tomllib
from pathlib import Path

import pytest

from konnectivity.client import DialError, connect
from konnectivity.kube.labels import parse_selector
from konnectivity.testing import targets
from konnectivity.testing.deployment import Deployment, free_port
from konnectivity.testing.kubernetes import KubernetesApi
from konnectivity.testing.targets import listening

DEPLOYERS = tomllib.loads((Path(__file__).parents[1] / "deployers.toml").read_text())
AUDIENCE = "system:konnectivity-server"
WITH_TOKENS = [name for name, each in DEPLOYERS.items() if "--service-account-token-path=/" in each["agent"]]
HOSTS = {"172.30.0.1": "127.0.0.1"}  # of a target that an agent stands for


class Site:
    """A directory that stands for the root of a host, its ports, and the programs that run there."""

    def __init__(self, name, directory, api):
        self.lists = DEPLOYERS[name]
        self.api = api
        self.deployment = Deployment(directory)  # certificates, ports, processes
        self.socket = ""
        self.server_ports = {
            "--agent-port": self.deployment.agent_port,
            "--health-port": self.deployment.health_port,
            "--admin-port": self.deployment.admin_port,
            "--server-port": self.deployment.server_port,
        }

    def server(self):
        argv = self._replaced(self.lists["server"], self.server_ports)
        self.socket = next((each.partition("=")[2] for each in argv if each.startswith("--uds-name=")), "")
        process = self.deployment.start_package("konnectivity_server", argv)
        self.until(process, self.deployment.health_port, "/healthz")
        return process

    def agent(self, which="agent"):
        health = free_port()
        ports = {
            "--proxy-server-port": self.deployment.agent_port,
            "--health-server-port": health,
            "--admin-server-port": free_port(),
        }
        process = self.deployment.start_package("konnectivity_agent", self._replaced(self.lists[which], ports))
        process.health_port = health
        self.until(process, health, "/readyz")
        return process

    def until(self, process, port, path):
        """Ask as kubelet does, until it is well."""
        end = time.monotonic() + 20
        while get(port, path) != (200, "ok"):
            assert process.returncode is None, process.log
            assert time.monotonic() < end, f"{path} says {get(port, path)}\n{process.log}"
            time.sleep(0.02)

    def frontend(self):
        """How kube-apiserver would come in."""
        mode = "http-connect" if "--mode=http-connect" in self.lists["server"] else "grpc"
        return (
            self.deployment.frontend(mode, False)
            if not self.socket
            else {"address": f"unix:{self.socket}", "mode": mode}
        )

    def _replaced(self, text, ports):
        argv, flag = [], ""
        for word in text.split():
            name, equals, value = word.partition("=") if word.startswith("-") else (flag, "", word)
            value = self._value(name, value, ports)
            argv.append(f"{name}={value}" if equals else value if name is flag else word)
            flag = name if word.startswith("--") and not equals else ""
        return argv + [
            f"{name}={port}" for name, port in ports.items() if not any(each.startswith(name) for each in argv)
        ]

    def _value(self, name, value, ports):
        if value.startswith("/"):
            return str(self._file(name, self.deployment.directory / value.lstrip("/")))
        if name in ports and value != "0":
            return str(ports[name])
        if name == "--proxy-server-host":
            return "localhost"
        for host, other in HOSTS.items():
            value = value.replace(host, other)
        return value

    def _file(self, name, path):
        """What must be at a path that a flag names."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source = {"cert": "server.crt", "key": "server.key"}.get(name.rpartition("-")[2])
        if name.startswith("--agent-"):
            source = source.replace("server", "client")
        if name.endswith("ca-cert"):
            source = "ca.crt"
        if source:
            path.write_bytes(Path(self.deployment.path(source)).read_bytes())
        elif name == "--kubeconfig":
            self.api.kubeconfig(path)
        elif name == "--service-account-token-path":
            path.write_text("good\n")
        elif name == "--uds-name":
            path.write_text("a file that was left behind")
        return path


def get(port, path):
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def dials(agent):
    """How many connections an agent has opened."""
    lines = get(agent.health_port, "/metrics")[1].splitlines()
    return next(int(line.split()[1]) for line in lines if "agent_dial_duration_seconds_count" in line)


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        yield api


@pytest.fixture
def site(api, monkeypatch):
    """Makes a site. Its name is short: the path of a unix socket must be."""
    sites = []
    with tempfile.TemporaryDirectory(prefix="k") as directory:

        def make(name):
            account = "system-konnectivity-agent" if name == "kubermatic" else "konnectivity-agent"
            api.add_token("good", f"system:serviceaccount:kube-system:{account}", AUDIENCE)
            # What a pod has by itself where no --kubeconfig is given.
            monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(Path(directory) / "in-cluster")))
            sites.append(Site(name, Path(directory), api))
            return sites[0]

        yield make
        for each in sites:
            each.deployment.stop()


async def request(tunnel, address):
    reader, writer = await tunnel.dial(address)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await writer.wait_closed()


def local(address):
    """A target by the name that it has at every site."""
    return f"localhost:{address.rpartition(':')[2]}"


@pytest.mark.parametrize("name", DEPLOYERS)
async def test_one_request_through_server_and_agent(site, api, name):
    where = site(name)
    server = await asyncio.to_thread(where.server)
    if where.socket:
        assert stat.filemode(Path(where.socket).stat().st_mode) == "srwxrwx---"
    assert get(where.deployment.health_port, "/readyz") == (500, "no connection to any proxy agent")
    agent = await asyncio.to_thread(where.agent)
    if name != "hypershift":  # whose workers stand for no address, and the first strategy alone decides
        assert get(where.deployment.health_port, "/readyz") == (200, "ok")
    async with listening(targets.echo) as address, connect(**where.frontend()) as tunnel:
        await request(tunnel, local(address))
    assert dials(agent) == 1
    assert (api.requests["tokenreviews"] == 1) == (name in WITH_TOKENS)
    if "--log-file=" in where.lists["server"]:
        # With --logtostderr=true the file is not used, there as here.
        there = where.deployment.directory / "var/log/konnectivity-server.log"
        assert there.exists() == ("--logtostderr=false" in where.lists["server"])
    for process in (server, agent):
        process.send(signal.SIGTERM)
        assert process.wait(5) == 0
        assert "Traceback" not in process.log
    assert not where.socket or not Path(where.socket).exists()


async def test_hypershift_reaches_what_lives_in_the_control_plane(site):
    """Its second agent stands for addresses there; all others go to the workers."""
    where = site("hypershift")
    await asyncio.to_thread(where.server)
    worker = await asyncio.to_thread(where.agent)
    beside = await asyncio.to_thread(where.agent, "second_agent")
    async with (
        listening(targets.echo) as service,
        listening(targets.echo, host="127.0.0.2") as kubelet,
        connect(**where.frontend()) as tunnel,
    ):
        for _ in range(4):
            await request(tunnel, service)
            await request(tunnel, kubelet)
    assert (dials(worker), dials(beside)) == (4, 4)


async def test_ocm_finds_no_agent_for_a_cluster_that_has_none(site):
    where = site("ocm")
    await asyncio.to_thread(where.server)
    await asyncio.to_thread(where.agent)
    async with connect(**where.frontend()) as tunnel:
        with pytest.raises(DialError, match="No agent available"):
            await tunnel.dial("cluster2:443")


async def test_kind_with_several_nodes_publishes_a_lease(site, api):
    where = site("kind-multinode")
    server = await asyncio.to_thread(where.server)
    await asyncio.to_thread(where.agent)
    (lease,) = api.objects.list("kube-system", parse_selector("k8s-app=konnectivity-server"))["items"]
    assert lease["metadata"]["name"].startswith("konnectivity-proxy-server-")
    assert api.requests["leases.watch"] >= 1
    server.send(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert not api.objects.list("kube-system", parse_selector(""))["items"]
