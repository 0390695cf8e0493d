"""Tests that one request succeeds through the programs when started with the arguments in the manifests."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

import pytest

from konnectivity.client import connect
from konnectivity.tool.manifests import (
    agent_objects,
    extra_arguments,
    kamaji,
    server_pod,
    sidecar,
    tenant_control_plane,
)
from support import targets
from support.deployer_site import Site, get
from support.kubernetes_api import KubernetesApi
from support.targets import listening

LEASES = "konnectivity"
TENANT = tenant_control_plane.Tenant(
    "t1", "tenants", "v1.33.1", 1, "203.0.113.7", "", None, tenant_control_plane.Addon()
)


def agent_arguments(**settings):
    return agent_objects.container(agent_objects.AgentManifest(servers=("203.0.113.7",), **settings))["args"]


def server_arguments(**settings):
    (container,) = server_pod.static_pod(server_pod.ServerManifest(**settings))["spec"]["containers"]
    return container["args"]


def hosted_arguments():
    names = {"tls_secret": "a", "kubeconfig_secret": "b", "egress_config_map": "c"}
    return sidecar.hosted(server_pod.ServerManifest(), **names).container["args"]


KAMAJI_AGENT = agent_objects.container(kamaji.agent_settings(TENANT, kamaji.Images()))["args"]
KAMAJI_SERVER = kamaji.server_sidecar(TENANT, kamaji.Images()).container["args"]
PAIRS = {
    "static pod": (server_arguments(), agent_arguments()),
    "leases": (server_arguments(lease_namespace=LEASES), agent_arguments(lease_namespace=LEASES)),
    "beside a kube-apiserver": (hosted_arguments(), agent_arguments(ca="PEM")),
    "Kamaji": (KAMAJI_SERVER, KAMAJI_AGENT),
    "additional": (
        server_arguments(flags=extra_arguments.parsed(["--v=2"])),
        agent_arguments(flags={"--sync-forever": None}),
    ),
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    # The path of a unix socket must be short.
    with KubernetesApi(tmp_path / "api") as api, tempfile.TemporaryDirectory(prefix="k") as directory:
        api.add_token("good", "system:serviceaccount:kube-system:konnectivity-agent", "system:konnectivity-server")
        # The in-cluster configuration of a pod.
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(Path(directory) / "in-cluster")))
        made = Site(Path(directory), api)
        yield made
        made.deployment.stop()


@pytest.mark.parametrize(("of_server", "of_agent"), PAIRS.values(), ids=PAIRS)
async def test_a_request_goes_through(site, of_server, of_agent):
    its_server = await asyncio.to_thread(site.server, of_server)
    its_agent = await asyncio.to_thread(site.agent, of_agent)
    assert get(site.deployment.health_port, "/readyz") == (200, "ok")
    async with listening(targets.echo) as address, connect(**site.frontend()) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
    assert site.api.requests["tokenreviews"] == 1
    assert ("leases.watch" in site.api.requests) == any("lease" in each for each in of_agent)
    for process in (its_agent, its_server):
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("mode", ["grpc", "http-connect"])
async def test_the_static_pod_takes_either_kind_of_egress_configuration(site, mode):
    await asyncio.to_thread(site.server, server_arguments())
    await asyncio.to_thread(site.agent, agent_arguments())
    async with listening(targets.echo) as address, connect(f"unix:{site.socket}", mode) as tunnel:
        reader, writer = await tunnel.dial(address)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
