"""Which leases are valid, and how many: by the times they carry, and a time that is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease import Lease, count, expiry, first_end

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Spec:
    renewTime: datetime | None = None
    acquireTime: datetime | None = None
    leaseDurationSeconds: int | None = None


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        (Spec(ago(10), None, 30), True),
        (Spec(ago(29.9), None, 30), True),
        (Spec(ago(30), None, 30), False),
        (Spec(None, ago(10), 30), True),
        (Spec(None, ago(31), 30), False),
        (Spec(ago(31), ago(1), 30), False),  # renewTime counts
        (Spec(ago(1), ago(100), 30), True),
        (Spec(None, None, 30), False),
        (Spec(ago(1), None, None), False),
        (Spec(ago(1), None, 0), False),
        (Spec(ago(1), None, -5), False),
        (Spec(ago(-3600), None, 30), True),  # the server's clock is ahead
        (Spec(ago(10).replace(tzinfo=None), None, 30), True),
        (Spec(datetime.max.replace(tzinfo=UTC), None, 30), True),
        (Spec(datetime.min.replace(tzinfo=UTC), None, -30), False),
        (Spec(ago(1), None, 2**31), True),
        (None, False),
    ],
)
def test_a_lease_is_valid(spec, valid):
    assert Lease("a", {}, expiry(spec)).valid(NOW) is valid


def leases():
    times = {"one": 5, "two": 15, "over": 31}
    found = [Lease(name, {"app": "x"}, expiry(Spec(ago(age), None, 30))) for name, age in times.items()]
    return [*found, Lease("other", {"app": "y"}, expiry(Spec(ago(1), None, 2))), Lease("empty", {"app": "x"}, None)]


def test_those_that_match_and_are_valid_are_counted():
    assert count(leases(), parse_selector("app=x"), NOW) == 2
    assert count(leases(), parse_selector(""), NOW) == 3
    assert count(leases(), parse_selector("app=z"), NOW) == 0


def test_the_next_to_run_out():
    assert first_end(leases(), parse_selector("app=x"), NOW) == ago(-15)
    assert first_end(leases(), parse_selector(""), NOW) == ago(-1)
    assert first_end(leases(), parse_selector("app=z"), NOW) is None
