"""Number of servers, counted by the leases that they keep.

Lists the leases of a namespace once, then watches them. Judges each lease by when this machine saw its renewal: the
times in leases are those of other clocks, and the log warns of one that differs much from ours. Before a lease counts
as expired, the leases are listed again: an API that is away tells nothing of servers, and the last good count stays.
Knows nothing of tunnels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

from konnectivity.kube.api_error import KubeError
from konnectivity.kube.call_counts import CallCounts
from konnectivity.kube.labels import Selector
from konnectivity.kube.lease_validity import Lease, Sightings, clock_difference
from konnectivity.net.backoff import Backoff
from konnectivity.runtime import logs
from konnectivity.runtime.logs.logged_reasons import LoggedReasons

if TYPE_CHECKING:
    from konnectivity.kube.api_answers import Event
    from konnectivity.kube.api_client import KubeClient

log = logs.get(__name__)

LATENCY_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30)
WATCH_S = 300.0  # after which the API ends a watch, and the next one continues
CLOCKS_DIFFER_S = 10.0  # difference of clocks that is logged: validity of tokens and certificates suffers, too
EXPIRY_GRACE_S = 1.0  # seconds in which a renewal may still arrive
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 30.0
_GONE = 410


class LeaseCounter:
    """Counter of valid leases that match a selector; counts while `run` runs.

    Attributes:
        count: valid leases, at least 1; the last good number while the API is away.
        synced: set once the API has answered.
        lists: answers to list requests.
        watches: answers to watch requests.

    Args:
        client: of the API.
        namespace: of the leases.
        selector: of the leases that count.
        on_change: called when `count` has changed.
        now: returns the time of day, with its zone.
        random: for jitter, because thousands may ask the same API.

    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        selector: Selector,
        on_change: Callable[[], object],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Random | None = None,
    ) -> None:
        self.count = 1
        self.synced = asyncio.Event()
        self.lists = CallCounts(LATENCY_BOUNDS)
        self.watches = CallCounts(LATENCY_BOUNDS)
        self._client = client
        self._namespace = namespace
        self._selector = selector
        self._on_change = on_change
        self._now = now
        self._random = random or Random()
        self._names: set[str] = set()  # names of the leases that match
        self._sightings = Sightings()
        self._differences: dict[str, float] = {}  # seconds between two clocks, by lease, at its last renewal
        self._skew_reported = False
        self._loop = asyncio.get_running_loop()
        self._first_end: float | None = None  # expiry of a counted lease, by the loop's clock
        self._version = ""  # resource version of the last event; empty: list first
        self._logged = LoggedReasons()

    async def run(self) -> None:
        """Count until cancelled."""
        backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S, spread=(0.5, 1.5), random=self._random)
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                backoff.reset()
            except KubeError as error:
                self._version = ""
                if error.code == _GONE:
                    backoff.reset()
                else:
                    self._failed(error)
            await asyncio.sleep(backoff.next())

    async def _list(self) -> None:
        with self.lists.one():
            found, version = await self._client.list_leases(self._namespace)
        matching = [each.lease for each in found if self._selector.matches(each.lease.labels)]
        self._names = {lease.name for lease in matching}
        self._sightings.keep(self._names)
        for lease in matching:
            self._sightings.see(lease, self._loop.time(), self._now())
        self._version = version
        self.synced.set()
        self._recount()

    async def _watch(self) -> None:
        """Follow the changes until the API ends the watch; if a lease expires before, have the leases listed."""
        seconds = WATCH_S * (0.8 + 0.4 * self._random.random())
        async with AsyncExitStack() as stack:
            with self.watches.one():
                watch = self._client.watch_leases(self._namespace, self._version, seconds)
                events = await stack.enter_async_context(watch)
            self._works()
            try:
                async with asyncio.timeout_at(self._expiry()) as deadline:
                    async for event in events:
                        self._take(event)
                        deadline.reschedule(self._expiry())
            except TimeoutError:
                self._version = ""

    def _take(self, event: Event) -> None:
        self._version = event.stored.version or self._version
        if event.kind == "BOOKMARK":
            return
        lease = event.stored.lease
        if event.kind != "DELETED" and self._selector.matches(lease.labels):
            self._names.add(lease.name)
            if self._sightings.see(lease, self._loop.time(), self._now()):
                self._compare_clocks(lease)
        else:
            self._names.discard(lease.name)
            self._sightings.forget(lease.name)
            self._differences.pop(lease.name, None)
        self._recount()

    def _compare_clocks(self, lease: Lease) -> None:
        """Warn once if two renewals in a row, seen as they happened, have times far from this machine's clock."""
        before = self._differences.get(lease.name, 0.0)
        now = self._differences[lease.name] = clock_difference(lease, self._now())
        if self._skew_reported or min(abs(before), abs(now)) < CLOCKS_DIFFER_S or (before > 0) != (now > 0):
            return
        self._skew_reported = True
        log.warning(
            "The clock of this machine is not that of a server: set both by NTP",
            lease=lease.name,
            seconds=round(min(abs(before), abs(now)), 1),
            clock="ahead" if now > 0 else "behind",
        )

    def _expiry(self) -> float | None:
        """Return when the first counted lease has expired, by the loop's clock; None if no lease is counted."""
        return None if self._first_end is None else max(self._first_end, self._loop.time()) + EXPIRY_GRACE_S

    def _recount(self) -> None:
        now = self._loop.time()
        ends = [end for end in map(self._sightings.ends_at, self._names) if end > now]
        self._first_end = min(ends, default=None)
        count = max(1, len(ends))
        if count != self.count:
            log.info("Number of servers by their leases", count=count, before=self.count)
            self.count = count
            self._on_change()

    def _failed(self, error: KubeError) -> None:
        """Log why leases cannot be counted, unless the last line has the same reason."""
        if self._logged.record(self._namespace, error.reason):
            log.warning("Cannot count leases, will keep trying", namespace=self._namespace, reason=str(error))

    def _works(self) -> None:
        if self._logged.clear(self._namespace):
            log.info("Leases are counted again", namespace=self._namespace)
