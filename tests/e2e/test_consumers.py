"""Tests that run our programs with the exact argument lists of projects that deploy the reference."""

from __future__ import annotations

import asyncio
import signal
import stat
import tempfile
import tomllib
from pathlib import Path

import pytest

from konnectivity.client import DialError, connect
from konnectivity.kube.labels import parse_selector
from support import targets
from support.checkout import DEPLOYERS as DEPLOYERS_FILE
from support.deployer_site import Site, dials, get
from support.kubernetes_api import KubernetesApi
from support.targets import listening

DEPLOYERS = tomllib.loads(DEPLOYERS_FILE.read_text())
AUDIENCE = "system:konnectivity-server"
WITH_TOKENS = [name for name, each in DEPLOYERS.items() if "--service-account-token-path=/" in each["agent"]]


def words(name):
    return {part: text.split() for part, text in DEPLOYERS[name].items()}


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        yield api


@pytest.fixture
def site(api, monkeypatch):
    """Yield a function that makes a site. The directory name is short because the path of a unix socket must be."""
    sites = []
    with tempfile.TemporaryDirectory(prefix="k") as directory:

        def make(name):
            account = "system-konnectivity-agent" if name == "kubermatic" else "konnectivity-agent"
            api.add_token("good", f"system:serviceaccount:kube-system:{account}", AUDIENCE)
            # The in-cluster configuration that a pod uses without --kubeconfig.
            monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(Path(directory) / "in-cluster")))
            sites.append(Site(Path(directory), api))
            return sites[0], words(name)

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
    """Return the target's address under the host name `localhost`, which every site can resolve."""
    return f"localhost:{address.rpartition(':')[2]}"


@pytest.mark.parametrize("name", DEPLOYERS)
async def test_one_request_through_server_and_agent(site, api, name):
    where, lists = site(name)
    server = await asyncio.to_thread(where.server, lists["server"])
    if where.socket:
        assert stat.filemode(Path(where.socket).stat().st_mode) == "srwxrwx---"
    assert get(where.deployment.health_port, "/readyz") == (500, "no connection to any proxy agent")
    agent = await asyncio.to_thread(where.agent, lists["agent"])
    if name != "hypershift":  # its workers claim no address, and only its first strategy is used
        assert get(where.deployment.health_port, "/readyz") == (200, "ok")
    async with listening(targets.echo) as address, connect(**where.frontend()) as tunnel:
        await request(tunnel, local(address))
    assert dials(agent) == 1
    assert (api.requests["tokenreviews"] == 1) == (name in WITH_TOKENS)
    if any(word.startswith("--log-file=") for word in lists["server"]):
        # With --logtostderr=true the file is not used, as in the reference.
        there = where.deployment.directory / "var/log/konnectivity-server.log"
        assert there.exists() == ("--logtostderr=false" in lists["server"])
    for process in (server, agent):
        process.send(signal.SIGTERM)
        assert process.wait(5) == 0
        assert "Traceback" not in process.log
    assert not where.socket or not Path(where.socket).exists()


async def test_hypershift_reaches_what_lives_in_the_control_plane(site):
    """The second agent receives dials to control-plane addresses; dials to all other addresses go to the workers."""
    where, lists = site("hypershift")
    await asyncio.to_thread(where.server, lists["server"])
    worker = await asyncio.to_thread(where.agent, lists["agent"])
    beside = await asyncio.to_thread(where.agent, lists["second_agent"])
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
    where, lists = site("ocm")
    await asyncio.to_thread(where.server, lists["server"])
    await asyncio.to_thread(where.agent, lists["agent"])
    async with connect(**where.frontend()) as tunnel:
        with pytest.raises(DialError, match="No agent available"):
            await tunnel.dial("cluster2:443")


async def test_kind_with_several_nodes_publishes_a_lease(site, api):
    where, lists = site("kind-multinode")
    server = await asyncio.to_thread(where.server, lists["server"])
    await asyncio.to_thread(where.agent, lists["agent"])
    (lease,) = api.objects.list("kube-system", parse_selector("k8s-app=konnectivity-server"))["items"]
    assert lease["metadata"]["name"].startswith("konnectivity-proxy-server-")
    assert api.requests["leases.watch"] >= 1
    server.send(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert not api.objects.list("kube-system", parse_selector(""))["items"]
