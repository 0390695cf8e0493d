"""A server's lease: published, renewed, withdrawn, through conflicts and trouble; and those of dead servers culled."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic

import pytest

from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity_server.peers import server_lease
from konnectivity_server.peers.server_lease import ServerLease
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
NAME = "konnectivity-proxy-server-one"


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        yield api


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server_lease, "RENEW_INTERVAL_S", 0.2)
    monkeypatch.setattr(server_lease, "CULL_INTERVAL_S", 0.2)
    monkeypatch.setattr(server_lease, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(server_lease, "LAST_BACKOFF_S", 0.2)
    monkeypatch.setattr(server_lease, "WITHDRAW_TIMEOUT_S", 0.5)


@asynccontextmanager
async def made(api, server_id="one", **how):
    config = kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig")))
    async with KubeClient(config, -1.0, timeout_s=1.0) as client:
        yield ServerLease(client, server_id, NAMESPACE, LABELS, **how)


@asynccontextmanager
async def running(api, server_id="one", **how):
    """A controller that runs for the block, and is cancelled at its end."""
    async with made(api, server_id, **how) as controller:
        task = asyncio.create_task(controller.run())
        try:
            yield controller
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()


async def until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def lease(api, name=NAME):
    return api.objects.leases.get((NAMESPACE, name))


def version(api):
    return int(lease(api)["metadata"]["resourceVersion"]) if lease(api) else 0


def put(api, name, age_s, labels=LABELS, **spec):
    time = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime(TIME)
    content = {"renewTime": time, "leaseDurationSeconds": 30, **spec}
    content = {key: value for key, value in content.items() if value is not None}
    return api.objects.create(NAMESPACE, {"metadata": {"name": name, "labels": labels}, "spec": content})


async def test_published_renewed_and_withdrawn(api):
    async with running(api) as controller:
        await until(lambda: lease(api))
        first = lease(api)
        assert first["metadata"]["labels"] == LABELS
        assert first["spec"]["holderIdentity"] == "one"
        assert first["spec"]["leaseDurationSeconds"] == 30
        assert "acquireTime" not in first["spec"]
        await until(lambda: version(api) > int(first["metadata"]["resourceVersion"]) + 1)
        assert lease(api)["spec"]["renewTime"] > first["spec"]["renewTime"]
        assert lease(api)["metadata"]["uid"] == first["metadata"]["uid"]
        assert controller.renewed_at is not None
    assert lease(api) is None
    assert api.requests[kubernetes_api.GET] == 2  # before the first write, and before the end
    assert api.requests[kubernetes_api.CREATE] == 1


def test_at_most_4_percent_later_than_asked():
    pauses = [server_lease.renewal_pause(Random(seed)) for seed in range(100)]
    assert 0.2 <= min(pauses) < 0.201
    assert 0.207 < max(pauses) <= 0.2 * 1.04


async def test_labels_are_ours_at_every_write_and_the_rest_stays(api):
    before = put(api, NAME, 100, {"old": "label"}, leaseTransitions=2)
    async with running(api):
        await until(lambda: version(api) > int(before["metadata"]["resourceVersion"]))
        assert lease(api)["metadata"]["labels"] == LABELS
        assert lease(api)["spec"]["leaseTransitions"] == 2
        assert lease(api)["metadata"]["uid"] == before["metadata"]["uid"]


async def test_somebody_changes_it_meanwhile(api):
    async with running(api):
        await until(lambda: lease(api))
        changed = api.objects.get(NAMESPACE, NAME)
        changed["metadata"]["annotations"] = {"note": "by a person"}
        changed["metadata"]["labels"] = {}
        changed = api.objects.update(NAMESPACE, NAME, changed)
        await until(lambda: version(api) > int(changed["metadata"]["resourceVersion"]))
        assert lease(api)["metadata"]["annotations"] == {"note": "by a person"}
        assert lease(api)["metadata"]["labels"] == LABELS
    assert lease(api) is None


async def test_somebody_deletes_it(api):
    async with running(api):
        await until(lambda: lease(api))
        api.objects.delete(NAMESPACE, NAME, {})
        await until(lambda: lease(api))


async def test_conflicts_without_end_are_not_answered_without_end(api):
    api.fail(kubernetes_api.UPDATE, 409, body=b"{}")
    async with running(api):
        await until(lambda: lease(api))
        await asyncio.sleep(1.0)
    # In a second at most 1 renewal and some 7 back-offs, each with one try and 5 more.
    assert 5 <= api.requests[kubernetes_api.UPDATE] <= 60


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_refusals_are_waited_out(api, status, caplog):
    caplog.set_level("INFO")
    for kind in (kubernetes_api.GET, kubernetes_api.LIST):
        api.fail(kind, status, retry_after_s=0)
    async with running(api):
        await asyncio.sleep(0.6)
        assert 3 <= api.requests[kubernetes_api.GET] <= 8  # 50, 100, 200, 200 ms
        api.faults.clear()
        await until(lambda: lease(api))
        await asyncio.sleep(0.4)
    lines = [
        record.getMessage() for record in caplog.records if record.name == "konnectivity_server.peers.server_lease"
    ]
    assert lines.count("Leases fail, will keep trying") == lines.count("Leases work again") == 2
    assert lines.count("Lease published") == lines.count("Lease withdrawn") == 1


async def test_a_slow_api(api):
    async with running(api) as controller:
        await until(lambda: lease(api))
        api.fail(kubernetes_api.UPDATE, delay_s=3.0)
        await asyncio.sleep(1.5)
        api.faults.clear()
        seen = controller.renewed_at
        await until(lambda: controller.renewed_at > seen)
    assert lease(api) is None


async def test_an_api_that_goes_away_and_comes_back(api):
    api.down()
    async with running(api):
        await asyncio.sleep(0.3)
        api.up()
        await until(lambda: lease(api))
        api.down()
        await asyncio.sleep(0.3)
        api.up()
        before = version(api)
        await until(lambda: version(api) > before)
    assert lease(api) is None


async def test_an_end_without_an_api_does_not_hang(api, caplog):
    async with running(api):
        await until(lambda: lease(api))
        api.down()
    async with running(api):
        await asyncio.sleep(0.05)
    assert "Cannot withdraw the lease" in caplog.text


async def test_another_process_with_the_same_id_keeps_the_lease(api, monkeypatch):
    monkeypatch.setattr(server_lease, "RENEW_INTERVAL_S", 60.0)
    async with running(api):
        await until(lambda: lease(api))
        taken = api.objects.get(NAMESPACE, NAME)
        taken["spec"]["renewTime"] = (datetime.now(UTC) + timedelta(seconds=5)).strftime(TIME)
        api.objects.update(NAMESPACE, NAME, taken)
    assert lease(api) == taken | {"metadata": lease(api)["metadata"]}


def fast():
    """A clock on which a lease that lasts 30 s is over after 1 s."""
    return 30 * monotonic()


@asynccontextmanager
async def renewing(api, *names, age_s=0.0):
    """Other servers for the block, which renew their leases."""

    async def renew():
        while True:
            for name in names:
                held = api.objects.get(NAMESPACE, name)
                held["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime(TIME)
                api.objects.update(NAMESPACE, name, held)
            await asyncio.sleep(0.1)

    for name in names:
        put(api, name, age_s)
    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("skew_s", [-86400, -120, 0, 120, 86400])
async def test_leases_that_are_renewed_are_never_culled_whatever_the_clocks(api, skew_s):
    """The time in them is another machine's, `skew_s` behind ours."""
    put(api, "dead", skew_s)
    async with renewing(api, "live", age_s=skew_s), running(api, clock=fast) as controller:
        await until(lambda: controller.culled == 1)
        await asyncio.sleep(1.5)
        assert {name for _, name in api.objects.leases} == {"live", NAME}
        assert controller.deletes.answers == {(200, ""): 1}


async def test_nothing_is_culled_before_it_was_watched_for_as_long_as_it_lasts(api):
    put(api, "dead", 1000)
    async with running(api, clock=fast) as controller:
        await until(lambda: controller.lists.answers.get((200, ""), 0) >= 3)
        assert controller.culled == 0
        await until(lambda: controller.culled == 1)


async def test_an_api_that_was_away_gives_others_time_to_renew(api):
    """While it was, nobody could."""
    put(api, "live", 0)
    async with running(api, clock=fast) as controller:
        await until(lambda: controller.lists.answers.get((200, ""), 0) >= 1)
        api.down()
        await asyncio.sleep(1.5)  # longer than the lease lasts
        api.up()
        before = controller.lists.answers[200, ""]
        await until(lambda: controller.lists.answers[200, ""] > before)
        assert controller.culled == 0
        await until(lambda: controller.culled == 1)


async def test_a_successor_with_a_slow_clock_keeps_the_lease(api, monkeypatch):
    monkeypatch.setattr(server_lease, "RENEW_INTERVAL_S", 60.0)
    async with running(api):
        await until(lambda: lease(api))
        taken = api.objects.get(NAMESPACE, NAME)
        taken["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(seconds=120)).strftime(TIME)
        api.objects.update(NAMESPACE, NAME, taken)
    assert lease(api)["spec"] == taken["spec"]


async def test_expired_leases_of_others_are_culled(api):
    put(api, "dead", 31)
    put(api, "no-duration", 10, leaseDurationSeconds=None)
    put(api, "no-times", 10, renewTime=None)
    put(api, "other", 1000, {"k8s-app": "other"})
    async with renewing(api, "live"), running(api, clock=fast) as controller:
        await until(lambda: controller.culled == 3)
        await until(lambda: lease(api))
        assert {name for _, name in api.objects.leases} == {"live", "other", NAME}
        assert controller.deletes.answers == {(200, ""): 3}
        assert controller.deletes.seconds[200].count == 3
        await until(lambda: controller.lists.answers[200, ""] > 1)


async def test_a_lease_that_is_renewed_or_gone_meanwhile_is_left(api):
    put(api, "dead", 31)
    api.fail(kubernetes_api.DELETE, 409, body=b'{"reason": "Conflict"}', times=1)
    async with running(api, clock=fast) as controller:
        await until(lambda: controller.culled == 1)
        assert controller.deletes.answers == {(409, "Conflict"): 1, (200, ""): 1}


async def test_failed_lists_and_deletes_are_counted(api):
    put(api, "dead", 31)
    api.fail(kubernetes_api.LIST, 500, times=1)
    api.fail(kubernetes_api.DELETE, 403, times=1)
    async with running(api, clock=fast) as controller:
        await until(lambda: controller.culled == 1)
        assert controller.lists.answers[500, "InternalError"] == 1
        assert controller.lists.seconds[500].count == 1
        assert controller.deletes.answers == {(403, "Forbidden"): 1, (200, ""): 1}
        api.down()
        await until(lambda: any(code == 0 for code, _ in controller.lists.answers))


async def test_two_servers_side_by_side(api):
    async with running(api, "one"), running(api, "two"):
        await until(lambda: len(api.objects.leases) == 2)
        await asyncio.sleep(0.5)
        assert len(api.objects.leases) == 2
    assert not api.objects.leases
