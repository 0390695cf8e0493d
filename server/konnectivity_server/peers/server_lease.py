"""Lease of the server, by which agents count it: published, renewed and withdrawn; expired leases of others are culled.

Owns one Lease object while `run` runs, and the two loops that maintain it. Does not know the tunnels. An API that does
not answer delays a renewal and ends nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.call_counts import CallCounts
from konnectivity.kube.lease_validity import DURATION_S, NAME_PREFIX, RENEW_INTERVAL_S, Sightings
from konnectivity.net.backoff import Backoff
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient
    from konnectivity.kube.lease_objects import StoredLease

log = logs.get(__name__)

RENEW_JITTER = 0.04
CULL_INTERVAL_S = 15.0
CULL_GRACE_S = 1.0  # seconds in which a renewal may still arrive
FIRST_BACKOFF_S = 0.2
LAST_BACKOFF_S = 7.0
MAX_CONFLICTS = 5  # consecutive conflicts that are retried at once
WITHDRAW_TIMEOUT_S = 5.0
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_NOT_FOUND, _CONFLICT = 404, 409


class ServerLease:
    """Lease of one server.

    Args:
        client: client of the Kubernetes API.
        server_id: holder of the lease; the name of the lease is made of it.
        namespace: namespace of the lease.
        labels: all labels of the lease; the leases of other servers have the same.
        now: returns the time of day, with its zone.
        random: source of the jitter between renewals.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        client: KubeClient,
        server_id: str,
        namespace: str,
        labels: Mapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = f"{NAME_PREFIX}{server_id}"
        self.culled = 0
        self.lists = CallCounts(LATENCY_BOUNDS)  # list calls of the culling loop
        self.deletes = CallCounts(LATENCY_BOUNDS)
        self.renewed_at: datetime | None = None
        self._client = client
        self._server_id = server_id
        self._namespace = namespace
        self._labels = dict(labels)
        self._now = now
        self._random = random or Random()
        self._seen: StoredLease | None = None  # lease as it was last stored
        self._clock = clock
        # Renew times of the last renewals that this process sent.
        self._times: deque[datetime] = deque(maxlen=2 * (MAX_CONFLICTS + 1))
        self._sightings = Sightings(patient=True)  # sightings of other servers' leases
        self._logged = LoggedReasons()  # failures, by purpose

    async def run(self) -> None:
        """Publish, renew and cull until cancelled; then withdraw the lease."""
        try:
            async with asyncio.TaskGroup() as tasks:
                task_guard.start_loop(tasks, self._renew_forever, "lease renewal")
                task_guard.start_loop(tasks, self._cull_forever, "lease culling")
        finally:
            await self._withdraw()

    async def _renew_forever(self) -> None:
        backoff = Backoff(FIRST_BACKOFF_S, LAST_BACKOFF_S)
        while True:
            if await self._attempt("renew the lease", self._renew):
                backoff.reset()
                await asyncio.sleep(renewal_pause(self._random))
            else:
                await asyncio.sleep(backoff.next())

    async def _cull_forever(self) -> None:
        while True:
            await self._attempt("cull expired leases", self._cull)
            await asyncio.sleep(self._cull_pause())

    def _cull_pause(self) -> float:
        """Return the seconds until leases are looked at again: less than the interval if one of them ends before."""
        first = min((end for end in self._sightings.ends() if end > self._clock()), default=math.inf)
        return min(CULL_INTERVAL_S, first - self._clock() + CULL_GRACE_S)

    async def _attempt(self, purpose: str, action: Callable[[], Awaitable[None]]) -> bool:
        """Return whether an action worked. Log when that changes, or when the reason of the failure does."""
        try:
            await action()
        except KubeError as error:
            if self._logged.record(purpose, error.reason):
                log.warning("Leases fail, will keep trying", to=purpose, namespace=self._namespace, reason=str(error))
            return False
        if self._logged.clear(purpose):
            log.info("Leases work again", to=purpose, namespace=self._namespace)
        return True

    async def _renew(self) -> None:
        for attempt in range(MAX_CONFLICTS + 1):
            try:
                await self._write()
                return
            except KubeError as error:
                stale = error.code == _CONFLICT or (error.code == _NOT_FOUND and self._seen is not None)
                self._seen = None  # look at the stored version before the next try
                if not stale or attempt == MAX_CONFLICTS:
                    raise

    async def _write(self) -> None:
        """Store the lease with a new time, over the version that was seen last or, if there is none, that is stored."""
        from konnectivity.kube.lease_objects import renewed

        seen = self._seen or await self._look()
        now = self._now()
        lease = renewed(seen, self._namespace, self.name, self._server_id, self._labels, DURATION_S, now)
        if lease.renew_time is not None:
            self._times.append(lease.renew_time)
        store = self._client.create_lease if seen is None else self._client.replace_lease
        self._seen = await store(self._namespace, lease)
        if self.renewed_at is None:
            log.info("Lease published", lease=self.name, namespace=self._namespace)
        self.renewed_at = now

    async def _look(self) -> StoredLease | None:
        try:
            return await self._client.get_lease(self._namespace, self.name)
        except KubeError as error:
            if error.code == _NOT_FOUND:
                return None
            raise

    async def _cull(self) -> None:
        """Delete the leases of others that were watched for their duration and were not renewed.

        The duration is measured by this server's own clock, because the clock of another machine is not known.
        """
        try:
            with self.lists.one():
                found, _ = await self._client.list_leases(self._namespace, self._labels)
        except KubeError:
            self._sightings.keep(())  # no renewal is stored meanwhile: watch each lease anew
            raise
        now, wall = self._clock(), self._now()
        known = {each.lease.name: each for each in found}
        self._sightings.keep(known)
        for name, each in known.items():
            self._sightings.see(each.lease, now, wall)
            if name != self.name and not self._sightings.valid(name, now):
                await self._cull_one(name, each.version)

    async def _cull_one(self, name: str, version: str) -> None:
        try:
            with self.deletes.one():
                await self._client.delete_lease(self._namespace, name, version)
        except KubeError as error:
            if error.code not in (_NOT_FOUND, _CONFLICT):  # the lease is gone, or was renewed meanwhile
                raise
            return
        self.culled += 1
        log.info("Expired lease culled", lease=name, namespace=self._namespace)

    async def _withdraw(self) -> None:
        """Delete the lease, unless another process with the same server id has taken it over since."""
        withdrawn = False
        try:
            async with asyncio.timeout(WITHDRAW_TIMEOUT_S):
                for attempt in range(MAX_CONFLICTS + 1):
                    try:
                        withdrawn = await self._delete()
                        break
                    except KubeError as error:  # a conflict: our last renewal, cancelled while it was sent, was stored
                        if error.code != _CONFLICT or attempt == MAX_CONFLICTS:
                            raise
        except (KubeError, TimeoutError) as error:
            log.warning("Cannot withdraw the lease, it will expire", lease=self.name, reason=error)
        else:
            if withdrawn:
                log.info("Lease withdrawn", lease=self.name, namespace=self._namespace)

    async def _delete(self) -> bool:
        lease = await self._look()
        if lease is None or not self._is_ours(lease):
            return False
        await self._client.delete_lease(self._namespace, self.name, lease.version)
        return True

    def _is_ours(self, lease: StoredLease) -> bool:
        """Return whether the last renewal is from this process. Another process may hold the lease by now."""
        return lease.renew_time in self._times


def renewal_pause(random: Random) -> float:
    """Return the seconds from one renewal to the next; the jitter separates servers that started together."""
    return RENEW_INTERVAL_S * (1 + RENEW_JITTER * random.random())
