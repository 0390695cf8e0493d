"""Leases: which are valid, and how many. Pure: the time is told. Knows no API and no clock.

A server that is alive renews a Lease object; whoever counts servers counts the leases that have not run out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from konnectivity.kube.labels import Selector

NAME_PREFIX = "konnectivity-proxy-server-"
DURATION_S = 30
RENEW_INTERVAL_S = 15.0
_ALWAYS = datetime.max.replace(tzinfo=UTC)


class Times(Protocol):
    """The part of a Lease's `spec` that says how long it is valid; each may be missing."""

    @property
    def renewTime(self) -> datetime | None: ...

    @property
    def acquireTime(self) -> datetime | None: ...

    @property
    def leaseDurationSeconds(self) -> int | None: ...


class Lease(NamedTuple):
    """As much of a Lease as counting needs."""

    name: str
    labels: Mapping[str, str]
    expires: datetime | None  # None: what would tell is missing, so it never was valid

    def valid(self, now: datetime) -> bool:
        return self.expires is not None and self.expires > now


def expiry(spec: Times | None) -> datetime | None:
    """When a lease runs out; None if its times are missing."""
    if spec is None or spec.leaseDurationSeconds is None:
        return None
    start = spec.renewTime or spec.acquireTime
    if start is None:
        return None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    try:
        return start + timedelta(seconds=spec.leaseDurationSeconds)
    except OverflowError:
        return _ALWAYS if spec.leaseDurationSeconds > 0 else start


def count(leases: Iterable[Lease], selector: Selector, now: datetime) -> int:
    """How many leases match and are valid."""
    return sum(lease.valid(now) and selector.matches(lease.labels) for lease in leases)


def first_end(leases: Iterable[Lease], selector: Selector, now: datetime) -> datetime | None:
    """When the first of the leases that count runs out; None if none counts."""
    ends = (lease.expires for lease in leases if lease.valid(now) and selector.matches(lease.labels))
    return min((end for end in ends if end is not None), default=None)
