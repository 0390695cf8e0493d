"""Lease of a server against an API server over TLS: published, withdrawn, and an API that starts late or fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity_server.peers.server_lease import ServerLease
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}
NAME = "konnectivity-proxy-server-one"


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        yield api


@asynccontextmanager
async def running(api):
    """Run the lease of a server for the block."""
    config = kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig")))
    async with KubeClient(config, -1.0, timeout_s=1.0) as client:
        lease = ServerLease(client, "one", NAMESPACE, LABELS)
        task = asyncio.create_task(lease.run())
        try:
            yield lease
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def stored(api):
    return api.objects.leases.get((NAMESPACE, NAME))


async def test_a_lease_is_published_and_withdrawn(api):
    async with running(api) as lease:
        await until(lambda: lease.renewed_at)
        assert stored(api)["metadata"]["labels"] == LABELS
        assert stored(api)["spec"]["holderIdentity"] == "one"
    assert stored(api) is None
    assert api.requests[kubernetes_api.CREATE] == 1


async def test_a_lease_of_the_same_server_is_taken_over(api):
    async with running(api) as lease:
        await until(lambda: lease.renewed_at)
        before = stored(api)
        async with running(api) as successor:
            await until(lambda: successor.renewed_at)
            assert stored(api)["metadata"]["uid"] == before["metadata"]["uid"]
            assert api.requests[kubernetes_api.UPDATE] == 1


async def test_a_lease_is_published_when_the_api_starts(api):
    api.down()
    async with running(api):
        await asyncio.sleep(0.3)
        api.up()
        await until(lambda: stored(api))
    assert stored(api) is None


async def test_the_end_does_not_wait_for_an_api_that_is_gone(api, caplog):
    async with running(api):
        await until(lambda: stored(api))
        api.down()
    assert "Cannot withdraw the lease" in caplog.text
