"""Lease of a server against an API in memory: published, renewed, withdrawn; leases of dead servers are culled."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

import pytest

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.lease_objects import micro_time
from konnectivity.kube.lease_validity import DURATION_S, RENEW_INTERVAL_S
from konnectivity_server.peers.server_lease import CULL_INTERVAL_S, MAX_CONFLICTS, ServerLease, renewal_pause
from support.memory_leases import MemoryLeases, loop_wall_clock

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}
NAME = "konnectivity-proxy-server-one"
LOGGER = "konnectivity_server.peers.server_lease"
UNREACHABLE = KubeError("no", reason="Unreachable")
CALLS = ("get", "create", "replace", "delete", "list")


@pytest.fixture
def api():
    return MemoryLeases()


@asynccontextmanager
async def running(api, server_id="one"):
    """Run the lease of a server for the block."""
    clock = asyncio.get_running_loop().time
    lease = ServerLease(api, server_id, NAMESPACE, LABELS, loop_wall_clock, Random(1), clock)
    task = asyncio.create_task(lease.run())
    await asyncio.sleep(0.1)
    try:
        yield lease
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


def stored(api, name=NAME):
    return api.objects.leases.get((NAMESPACE, name))


def put(api, name, age_s=0.0, labels=LABELS, **spec):
    time = micro_time(loop_wall_clock() - timedelta(seconds=age_s))
    content = {"renewTime": time, "leaseDurationSeconds": DURATION_S, **spec}
    content = {key: value for key, value in content.items() if value is not None}
    return api.objects.create(NAMESPACE, {"metadata": {"name": name, "labels": dict(labels)}, "spec": content})


@asynccontextmanager
async def renewing(api, name, skew_s=0.0):
    """Run another server for the block, whose clock is `skew_s` behind, and which renews its lease."""

    async def renew():
        while True:
            await asyncio.sleep(RENEW_INTERVAL_S)
            held = api.objects.get(NAMESPACE, name)
            held["spec"]["renewTime"] = micro_time(loop_wall_clock() - timedelta(seconds=skew_s))
            api.objects.update(NAMESPACE, name, held)

    put(api, name, skew_s)
    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# ---- the server's own lease -----------------------------------------------------------------------------------------


async def test_a_lease_is_published_renewed_and_withdrawn(api):
    async with running(api) as lease:
        first = stored(api)
        assert first["metadata"]["labels"] == LABELS
        assert first["spec"]["holderIdentity"] == "one"
        assert first["spec"]["leaseDurationSeconds"] == DURATION_S
        assert "acquireTime" not in first["spec"]
        await asyncio.sleep(10 * RENEW_INTERVAL_S)
        assert 9 <= api.requests["replace"] <= 10
        assert stored(api)["spec"]["renewTime"] > first["spec"]["renewTime"]
        assert stored(api)["metadata"]["uid"] == first["metadata"]["uid"]
        assert lease.renewed_at is not None
    assert stored(api) is None
    assert api.requests["get"] == 2  # before the first write, and before the end
    assert api.requests["create"] == 1


def test_a_renewal_is_at_most_4_percent_later_than_asked():
    pauses = [renewal_pause(Random(seed)) for seed in range(100)]
    assert RENEW_INTERVAL_S <= min(pauses) < 1.005 * RENEW_INTERVAL_S
    assert 1.035 * RENEW_INTERVAL_S < max(pauses) <= 1.04 * RENEW_INTERVAL_S


async def test_every_renewal_writes_the_labels_and_leaves_the_other_fields(api):
    before = put(api, NAME, 100, {"old": "label"}, leaseTransitions=2)
    async with running(api):
        assert stored(api)["metadata"]["labels"] == LABELS
        assert stored(api)["spec"]["leaseTransitions"] == 2
        assert stored(api)["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_change_by_a_person_is_kept_except_for_the_labels(api):
    async with running(api):
        changed = api.objects.get(NAMESPACE, NAME)
        changed["metadata"] |= {"annotations": {"note": "by a person"}, "labels": {}}
        api.objects.update(NAMESPACE, NAME, changed)
        await asyncio.sleep(2 * RENEW_INTERVAL_S)
        assert stored(api)["metadata"]["annotations"] == {"note": "by a person"}
        assert stored(api)["metadata"]["labels"] == LABELS
    assert stored(api) is None


async def test_a_lease_that_was_deleted_is_published_again(api):
    async with running(api):
        api.objects.delete(NAMESPACE, NAME, {})
        await asyncio.sleep(2 * RENEW_INTERVAL_S)
        assert stored(api) is not None


async def test_conflicts_without_end_are_answered_a_few_times_only(api):
    async with running(api):
        api.faults["replace"] = KubeError("conflict", 409, "Conflict")
        await asyncio.sleep(120.0)
    tries = api.requests["replace"]
    assert 5 <= tries <= 30 * (MAX_CONFLICTS + 1)  # a back-off of 0.2 to 7 seconds between two rounds


@pytest.mark.parametrize("error", [KubeError("no", 403, "Forbidden"), KubeError("no", 500, "InternalError")], ids=str)
async def test_refusals_are_waited_out_and_logged_once(api, caplog, error):
    caplog.set_level("INFO")
    api.faults = {"get": error, "list": error}
    async with running(api):
        await asyncio.sleep(60.0)
        assert 8 <= api.requests["get"] <= 15  # pauses of 0.2, 0.4, 0.8, ... and 7 seconds
        assert stored(api) is None
        api.faults.clear()
        await asyncio.sleep(60.0)
        assert stored(api) is not None
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert lines.count("Leases fail, will keep trying") == lines.count("Leases work again") == 2
    assert lines.count("Lease published") == lines.count("Lease withdrawn") == 1


async def test_the_end_does_not_wait_for_an_api_that_does_not_answer(api, caplog):
    loop = asyncio.get_running_loop()
    async with running(api):
        api.delay_s = {"get": 3600.0, "delete": 3600.0}
        began = loop.time()
    assert loop.time() - began == pytest.approx(5.0)
    assert "Cannot withdraw the lease" in caplog.text


@pytest.mark.parametrize("age_s", [-5.0, 120.0], ids=["clock ahead", "clock behind"])
async def test_another_process_with_the_same_id_keeps_the_lease(api, age_s):
    async with running(api):
        taken = api.objects.get(NAMESPACE, NAME)
        taken["spec"]["renewTime"] = micro_time(loop_wall_clock() - timedelta(seconds=age_s))
        api.objects.update(NAMESPACE, NAME, taken)
    assert stored(api)["spec"] == taken["spec"]


async def test_two_servers_keep_a_lease_each(api):
    async with running(api, "one"), running(api, "two"):
        await asyncio.sleep(300.0)
        assert len(api.objects.leases) == 2
    assert not api.objects.leases


# ---- leases of dead servers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-86400, -120, 0, 120, 86400])
async def test_leases_that_are_renewed_are_never_culled_whatever_the_clocks(api, skew_s):
    """The time in a lease is that of another machine, `skew_s` behind."""
    put(api, "dead", skew_s)
    async with renewing(api, "live", skew_s), running(api) as lease:
        await asyncio.sleep(300.0)
        assert {name for _, name in api.objects.leases} == {"live", NAME}
        assert lease.deletes.answers == {(200, ""): 1}


async def test_no_lease_is_culled_before_it_was_watched_for_its_duration(api):
    put(api, "dead", 1000)
    async with running(api) as lease:
        await asyncio.sleep(DURATION_S - 1)
        assert lease.culled == 0
        await asyncio.sleep(CULL_INTERVAL_S)
        assert lease.culled == 1


async def test_an_api_that_was_away_gives_other_servers_time_to_renew(api):
    put(api, "live")
    async with running(api) as lease:
        api.faults = dict.fromkeys(CALLS, UNREACHABLE)
        await asyncio.sleep(10 * DURATION_S)
        api.faults.clear()
        await asyncio.sleep(DURATION_S - 1)
        assert lease.culled == 0
        await asyncio.sleep(2 * CULL_INTERVAL_S)
        assert lease.culled == 1


async def test_expired_leases_with_the_labels_are_culled(api):
    put(api, "dead", 31)
    put(api, "no-duration", 10, leaseDurationSeconds=None)
    put(api, "no-times", 10, renewTime=None)
    put(api, "other", 1000, {"k8s-app": "other"})
    async with renewing(api, "live"), running(api) as lease:
        await asyncio.sleep(120.0)
        assert {name for _, name in api.objects.leases} == {"live", "other", NAME}
        assert lease.deletes.answers == {(200, ""): 3}
        assert lease.deletes.seconds[200].count == 3


async def test_a_lease_that_is_renewed_meanwhile_is_left(api):
    put(api, "dead", 31)
    api.faults["delete"] = KubeError("conflict", 409, "Conflict")
    async with running(api) as lease:
        await asyncio.sleep(DURATION_S + CULL_INTERVAL_S)
        assert lease.culled == 0
        assert (409, "Conflict") in lease.deletes.answers
        api.faults.clear()
        await asyncio.sleep(2 * CULL_INTERVAL_S)
        assert lease.culled == 1


async def test_failed_lists_are_counted_by_status_and_reason(api):
    api.faults["list"] = KubeError("no", 500, "InternalError")
    async with running(api) as lease:
        assert lease.lists.answers == {(500, "InternalError"): 1}
        api.faults["list"] = UNREACHABLE
        await asyncio.sleep(CULL_INTERVAL_S)
        assert lease.lists.answers[0, "Unreachable"] == 1
