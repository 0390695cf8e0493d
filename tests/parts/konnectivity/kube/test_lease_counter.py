"""Servers counted by their leases through the real client: while the API works, is away, and answers in part."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease_counter import LeaseCounter
from support import kubernetes_api

NAMESPACE = "kube-system"
LABELS = {"k8s-app": "konnectivity-server"}


@asynccontextmanager
async def counting(api, selector="k8s-app=konnectivity-server", **how):
    """Run a counter for the block; `counter.seen` are the counts that it reported."""
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


async def test_leases_that_come_and_go_are_told_by_the_watch(api):
    async with counting(api) as counter:
        await counter.synced.wait()
        for name in ("one", "two", "three"):
            put(api, name)
        await until(lambda: counter.count == 3)
        put(api, "three", labels={"k8s-app": "other"})
        api.objects.delete(NAMESPACE, "two", {})
        await until(lambda: counter.count == 1)
        assert (counter.lists.answers, counter.watches.answers) == ({(200, ""): 1}, {(200, ""): 1})


async def test_an_api_that_went_down_is_listed_when_it_is_up_again(api):
    put(api, "one")
    put(api, "two")
    async with counting(api) as counter:
        await until(lambda: counter.count == 2)
        api.down()
        put(api, "three")
        api.up()
        await until(lambda: counter.count == 3, 10)
        assert counter.told == [2, 3]


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after_s": 0}, {"status": 500}, {"half": True}])
@pytest.mark.parametrize("kind", [kubernetes_api.LIST, kubernetes_api.WATCH])
async def test_after_a_fault_the_leases_are_counted(api, kind, fault):
    put(api, "one")
    put(api, "two")
    api.fail(kind, times=1, **fault)
    async with counting(api) as counter:
        await until(lambda: counter.count == 2, 10)
        put(api, "three")
        await until(lambda: counter.count == 3, 10)


async def test_a_version_that_the_api_forgot_is_listed_again(api):
    async with counting(api) as counter:
        await until(lambda: counter.watches.answers)
        api.objects.forget()
        put(api, "one")
        put(api, "two")
        await until(lambda: counter.count == 2, 10)
        assert api.requests[kubernetes_api.LIST] == 2
