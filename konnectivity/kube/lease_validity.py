"""Validity of leases, judged by the time at which their renewals are seen. Pure: knows no API and no clock.

A server that is alive renews a Lease object, and writes the time of its own clock into the object. Clocks differ.
Therefore a lease is judged by when this machine saw a renewal (`Sightings`), as in client-go's leader election.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from konnectivity.kube.labels import Selector

NAME_PREFIX = "konnectivity-proxy-server-"
DURATION_S = 30
RENEW_INTERVAL_S = 15.0
_ALWAYS = datetime.max.replace(tzinfo=UTC)


class Lease(NamedTuple):
    """Name, labels and validity of a Lease."""

    name: str
    labels: Mapping[str, str]
    expires: datetime | None  # by its holder's clock; None: its times are missing, and it never was valid
    duration_s: int = DURATION_S

    def valid(self, now: datetime) -> bool:
        """Return whether the lease is valid by the time written into it."""
        return self.expires is not None and self.expires > now


def expiry(start: datetime | None, duration_s: int | None) -> datetime | None:
    """Return when a lease expires by its holder's clock; None if its last renewal or its duration is unknown."""
    if start is None or duration_s is None:
        return None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    try:
        return start + timedelta(seconds=duration_s)
    except OverflowError:
        return _ALWAYS if duration_s > 0 else start


class _Sighting(NamedTuple):
    expires: datetime | None
    ends_at: float  # by the observer's clock


class Sightings:
    """Renewals of leases that one observer saw, by the observer's own monotonic clock, in seconds.

    A lease is valid for its duration after its renewal was seen.

    Args:
        patient: whether a lease that is seen for the first time counts as renewed just now. Otherwise the time written
            into it decides until its first renewal is seen.

    """

    def __init__(self, patient: bool = False) -> None:
        self._patient = patient
        self._seen: dict[str, _Sighting] = {}

    def see(self, lease: Lease, now: float, wall: datetime) -> bool:
        """Note a lease as it is stored now. Return whether it was renewed since it was seen last."""
        last = self._seen.get(lease.name)
        if last is not None and last.expires == lease.expires:
            return False
        self._seen[lease.name] = _Sighting(lease.expires, now + self._left_s(lease, last is None, wall))
        return last is not None

    def keep(self, names: Collection[str]) -> None:
        """Forget the leases that are not among `names`."""
        self._seen = {name: each for name, each in self._seen.items() if name in names}

    def forget(self, name: str) -> None:
        """Forget one lease."""
        self._seen.pop(name, None)

    def ends_at(self, name: str) -> float:
        """Return when a lease runs out, by the observer's clock; minus infinity if it was never seen."""
        found = self._seen.get(name)
        return -math.inf if found is None else found.ends_at

    def ends(self) -> Iterable[float]:
        """Return when each lease runs out."""
        return (each.ends_at for each in self._seen.values())

    def valid(self, name: str, now: float) -> bool:
        """Return whether a lease is valid."""
        return self.ends_at(name) > now

    def _left_s(self, lease: Lease, first: bool, wall: datetime) -> float:
        if first and self._patient:
            return max(lease.duration_s, 1)
        if lease.expires is None or lease.duration_s <= 0:
            return -math.inf
        if not first:
            return lease.duration_s
        return min(max((lease.expires - wall).total_seconds(), 0.0), lease.duration_s)


def clock_difference(lease: Lease, wall: datetime) -> float:
    """Return by how many seconds this machine's clock is ahead of the holder's, if the lease was renewed just now."""
    if lease.expires is None:
        return 0.0
    return (wall - lease.expires).total_seconds() + lease.duration_s


def count(leases: Iterable[Lease], selector: Selector, now: datetime) -> int:
    """Return the number of leases that match and are valid by the times written into them: for a single look."""
    return sum(lease.valid(now) and selector.matches(lease.labels) for lease in leases)
