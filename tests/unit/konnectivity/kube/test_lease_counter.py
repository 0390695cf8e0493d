"""An agent counts servers by their leases: as they come, go, run out, and while the API is away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube import kubeconfig, lease_counter
from konnectivity.kube.api_client import KubeClient
from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease_counter import LeaseCounter
from support import kubernetes_api
from support.kubernetes_api import KubernetesApi

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}


@pytest.fixture
def api(tmp_path):
    with KubernetesApi(tmp_path) as api:
        yield api


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease_counter, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(lease_counter, "LAST_PAUSE_S", 0.2)
    monkeypatch.setattr(lease_counter, "EXPIRY_GRACE_S", 0.05)


@asynccontextmanager
async def counting(api, selector="k8s-app=konnectivity-server", **how):
    """A counter that runs for the block; `counter.seen` are the counts that it told."""
    config = kubeconfig.load(str(api.kubeconfig(api.directory / "kubeconfig")))
    async with KubeClient(config, -1.0, timeout_s=1.0) as client:
        seen: list[int] = []
        counter = LeaseCounter(client, NAMESPACE, parse_selector(selector), lambda: seen.append(counter.count), **how)
        counter.told = seen
        task = asyncio.create_task(counter.run())
        try:
            yield counter
        finally:
            assert not task.done(), task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def time(age_s):
    return (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def put(api, name, age_s=0.0, labels=LABELS, **spec):
    content = {"renewTime": time(age_s), "leaseDurationSeconds": 30, **spec}
    content = {key: value for key, value in content.items() if value is not None}
    lease = {"metadata": {"name": name, "labels": labels}, "spec": content}
    try:
        return api.objects.create(NAMESPACE, lease)
    except kubernetes_api.ApiFailure:
        return api.objects.update(NAMESPACE, name, lease)


async def test_those_that_are_there_are_counted(api):
    for name in ("one", "two", "three"):
        put(api, name)
    put(api, "dead", 31)
    put(api, "other", labels={"k8s-app": "other"})
    put(api, "bare", labels={})
    async with counting(api) as counter:
        assert counter.count == 1
        await counter.synced.wait()
        assert (counter.count, counter.told) == (3, [3])


async def test_leases_with_missing_fields_do_not_count(api):
    put(api, "no-duration", leaseDurationSeconds=None)
    put(api, "no-times", renewTime=None)
    put(api, "acquired", renewTime=None, acquireTime=time(1))
    put(api, "good")
    api.objects.create(NAMESPACE, {"metadata": {"name": "no-spec", "labels": LABELS}})
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        put(api, "no-duration-either", leaseDurationSeconds=None)
        api.objects.create(NAMESPACE, {"metadata": {"name": "no-labels"}, "spec": {}})
        put(api, "late")
        await until(lambda: counter.count == 3)


async def test_at_least_one(api):
    async with counting(api) as counter:
        await counter.synced.wait()
        assert (counter.count, counter.told) == (1, [])


@pytest.mark.parametrize(("selector", "count"), [("", 4), ("tier in (a,b),!old", 2), ("tier notin (a)", 3), ("x", 1)])
async def test_any_selector(api, selector, count):
    put(api, "one", labels={"tier": "a"})
    put(api, "two", labels={"tier": "b"})
    put(api, "three", labels={"tier": "b", "old": ""})
    put(api, "four", labels={})
    async with counting(api, selector) as counter:
        await counter.synced.wait()
        assert counter.count == count


async def test_they_come_and_go(api):
    async with counting(api) as counter:
        await counter.synced.wait()
        for name in ("one", "two", "three"):
            put(api, name)
        await until(lambda: counter.count == 3)
        put(api, "three", 1)
        put(api, "three", labels={"k8s-app": "other"})
        await until(lambda: counter.count == 2)
        api.objects.delete(NAMESPACE, "two", {})
        api.objects.delete(NAMESPACE, "one", {})
        await until(lambda: counter.count == 1)
        assert counter.told[:1] == [2]
        assert counter.lists.answers == {(200, ""): 1}
        assert counter.watches.answers == {(200, ""): 1}
        assert counter.lists.seconds[200].count == 1


async def test_one_that_runs_out_is_asked_for_and_then_believed(api):
    put(api, "one")
    put(api, "two", 29.5)
    async with counting(api) as counter:
        await until(lambda: counter.told == [2, 1])
        assert 2 <= api.requests[kubernetes_api.LIST] <= 3
        await asyncio.sleep(0.3)
        assert api.requests[kubernetes_api.LIST] <= 3  # and not again


async def test_one_that_runs_out_while_the_watch_is_being_set_up(api):
    put(api, "one")
    put(api, "two", 29.6)
    api.fail(kubernetes_api.WATCH, delay_s=0.7, times=1)
    async with counting(api) as counter:
        await until(lambda: counter.told == [2, 1])


async def test_one_that_is_renewed_in_time_is_not_asked_for(api):
    put(api, "one", 29.2)
    put(api, "two", 29.2)
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        for _ in range(4):
            await asyncio.sleep(0.3)
            put(api, "one", 29.2)
            put(api, "two", 29.2)
        assert (counter.told, api.requests[kubernetes_api.LIST]) == ([2], 1)


async def test_the_last_good_count_stands_while_the_api_is_away(api, caplog):
    caplog.set_level("INFO")
    put(api, "one", 29.0)
    put(api, "two", 29.0)
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        api.down()
        await asyncio.sleep(1.5)  # both have run out meanwhile
        assert counter.count == 2
        put(api, "one")
        put(api, "two")
        put(api, "three")
        api.up()
        await until(lambda: counter.count == 3)
        assert counter.told == [2, 3]
        assert any(status == 0 for status, _ in counter.lists.answers)
        await until(lambda: "Leases are counted again" in caplog.text)
    assert caplog.text.count("Leases are counted again") == 1
    assert caplog.text.count("Cannot count leases, will keep trying") <= 2


async def test_an_api_that_falls_silent(api):
    put(api, "one", 29.0)
    put(api, "two", 29.0)
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        api.fail(kubernetes_api.LIST, delay_s=1.5)
        await asyncio.sleep(2.0)  # the watch stands, and says nothing
        assert counter.count == 2
        api.faults.clear()
        await until(lambda: counter.count == 1)


async def test_an_api_that_comes_up_later(api):
    put(api, "one")
    put(api, "two")
    api.down()
    async with counting(api) as counter:
        await asyncio.sleep(0.4)
        assert (counter.count, counter.synced.is_set()) == (1, False)
        api.up()
        await until(lambda: counter.count == 2)


@pytest.mark.parametrize("how", ["in the answer", "in the watch"])
async def test_a_version_that_is_too_old_is_listed_again(api, how):
    async with counting(api) as counter:
        await until(lambda: counter.watches.answers)
        put(api, "one")
        put(api, "two")
        await until(lambda: counter.count == 2)
        if how == "in the answer":
            api.fail(kubernetes_api.WATCH, 410, times=1)
            api.down()
            api.up()
        else:
            api.objects.forget()
        put(api, "three")
        await until(lambda: counter.count == 3)
        assert (
            api.requests[kubernetes_api.LIST] == 2 if how == "in the watch" else api.requests[kubernetes_api.LIST] >= 2
        )


async def test_410_without_end_is_not_asked_without_end(api):
    api.fail(kubernetes_api.WATCH, 410)
    put(api, "one")
    put(api, "two")
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        await asyncio.sleep(1.0)
        assert api.requests[kubernetes_api.LIST] < 45


async def test_a_watch_that_ends_goes_on_where_it_was(api, monkeypatch):
    monkeypatch.setattr(lease_counter, "WATCH_S", 1.0)
    async with counting(api) as counter:
        await until(lambda: counter.watches.answers.get((200, ""), 0) == 3, 8)
        put(api, "one")
        put(api, "two")
        await until(lambda: counter.count == 2)
        assert api.requests[kubernetes_api.LIST] == 1


async def test_a_watch_that_ends_at_once_is_not_asked_without_end(api):
    api.fail(kubernetes_api.WATCH, 200, body=b"")
    async with counting(api):
        await asyncio.sleep(1.0)
        assert 5 < api.requests[kubernetes_api.WATCH] < 45


async def test_without_the_right_to_watch_it_lists_now_and_then(api):
    put(api, "one")
    put(api, "two")
    api.fail(kubernetes_api.WATCH, 403)
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        put(api, "three")
        await until(lambda: counter.count == 3)
        assert counter.watches.answers[403, "Forbidden"] >= 1


@pytest.mark.parametrize(
    "fault", [{"status": 401}, {"status": 429, "retry_after_s": 0}, {"status": 500}, {"half": True}]
)
@pytest.mark.parametrize("kind", [kubernetes_api.LIST, kubernetes_api.WATCH])
async def test_trouble_is_waited_out(api, kind, fault):
    put(api, "one")
    put(api, "two")
    api.fail(kind, **fault)
    async with counting(api) as counter:
        await asyncio.sleep(0.6)
        assert api.requests[kind] < 20
        api.faults.clear()
        await until(lambda: counter.count == 2)
        put(api, "three")
        await until(lambda: counter.count == 3)


@pytest.mark.parametrize("skew_s", [-3600, -120, 120, 3600])
async def test_a_clock_that_differs_changes_no_count_and_is_told_once(api, caplog, skew_s):
    """Whatever this machine's clock says, a lease that is renewed counts, and one that is not ceases to."""
    for name in ("one", "two", "dead"):
        put(api, name, leaseDurationSeconds=1)
    async with counting(api, now=lambda: datetime.now(UTC) + timedelta(seconds=skew_s)) as counter:
        await counter.synced.wait()
        for _ in range(10):
            await asyncio.sleep(0.2)
            put(api, "one", leaseDurationSeconds=1)
            put(api, "two", leaseDurationSeconds=1)
        assert counter.count == 2
        await until(lambda: counter.count == 1)
    lines = [record for record in caplog.records if "clock" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].fields["clock"] == ("ahead" if skew_s > 0 else "behind")
    assert abs(lines[0].fields["seconds"] - abs(skew_s)) < 2


async def test_a_clock_that_differs_a_little_is_not_told(api, caplog):
    put(api, "one", 5)
    async with counting(api, now=lambda: datetime.now(UTC) + timedelta(seconds=3)):
        for _ in range(5):
            await asyncio.sleep(0.1)
            put(api, "one", 5)
    assert "clock" not in caplog.text


async def test_news_that_come_late_are_no_clock_that_differs(api, caplog):
    """Renewals of a time without a watch arrive together: the old ones look as if our clock were ahead."""
    put(api, "one")
    async with counting(api) as counter:
        await counter.synced.wait()
        for age_s in (90, 0.1, 60, 0.1):
            await asyncio.sleep(0.05)
            put(api, "one", age_s)
        await asyncio.sleep(0.2)
    assert "clock" not in caplog.text


async def test_a_lease_of_the_past_counts_from_its_next_renewal_on(api):
    put(api, "one", 100)
    put(api, "two", 100)
    async with counting(api) as counter:
        await counter.synced.wait()
        assert counter.count == 1
        put(api, "one", 85)
        put(api, "two", 85)
        await until(lambda: counter.count == 2)
