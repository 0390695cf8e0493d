"""Leases of a Kubernetes API in memory: the calls of the API client, without a connection.

Owns the objects and the faults that a test asks for. Times in the objects are the test's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.json_object import JsonObject
from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease_objects import StoredLease
from support.kubernetes_objects import ApiFailure, Objects

T = TypeVar("T")


class MemoryLeases:
    """Lease calls of an API client.

    Attributes:
        objects: the objects of the API.
        requests: number of calls by kind: get, create, replace, delete, list.
        faults: error that each kind of call raises.
        delay_s: seconds that each kind of call takes.

    """

    def __init__(self, objects: Objects | None = None) -> None:
        self.objects = objects or Objects()
        self.requests: Counter[str] = Counter()
        self.faults: dict[str, KubeError] = {}
        self.delay_s: dict[str, float] = {}

    async def get_lease(self, namespace: str, name: str) -> StoredLease:
        return _read(await self._call("get", lambda: self.objects.get(namespace, name)))

    async def create_lease(self, namespace: str, lease: StoredLease) -> StoredLease:
        return _read(await self._call("create", lambda: self.objects.create(namespace, dict(lease.content))))

    async def replace_lease(self, namespace: str, lease: StoredLease) -> StoredLease:
        name = lease.lease.name
        return _read(await self._call("replace", lambda: self.objects.update(namespace, name, dict(lease.content))))

    async def delete_lease(self, namespace: str, name: str, version: str) -> None:
        await self._call("delete", lambda: self.objects.delete(namespace, name, {"resourceVersion": version}))

    async def list_leases(
        self, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[StoredLease], str]:
        selector = parse_selector(",".join(f"{key}={value}" for key, value in (labels or {}).items()))
        found = await self._call("list", lambda: self.objects.list(namespace, selector))
        return [_read(each) for each in found["items"]], found["metadata"]["resourceVersion"]

    async def _call(self, kind: str, action: Callable[[], Any]) -> Any:
        self.requests[kind] += 1
        await asyncio.sleep(self.delay_s.get(kind, 0.0))
        if kind in self.faults:
            raise self.faults[kind]
        try:
            return action()
        except ApiFailure as failure:
            raise KubeError(str(failure), failure.code, failure.reason) from failure


def _read(content: Mapping[str, Any]) -> StoredLease:
    return StoredLease.read(JsonObject(dict(content)))


def loop_wall_clock() -> datetime:
    """Return a time of day that moves with the running loop's clock."""
    return datetime.fromtimestamp(1_700_000_000 + asyncio.get_running_loop().time(), UTC)
