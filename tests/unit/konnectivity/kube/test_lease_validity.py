"""Validity and number of leases, by the times they carry and by the times at which their renewals were seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube.labels import parse_selector
from konnectivity.kube.lease_validity import Lease, Sightings, clock_difference, count, expiry

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Spec:
    renewTime: datetime | None = None
    acquireTime: datetime | None = None
    leaseDurationSeconds: int | None = None


def expires(spec):
    return None if spec is None else expiry(spec.renewTime or spec.acquireTime, spec.leaseDurationSeconds)


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
    assert Lease("a", {}, expires(spec)).valid(NOW) is valid


def leases():
    times = {"one": 5, "two": 15, "over": 31}
    found = [Lease(name, {"app": "x"}, expires(Spec(ago(age), None, 30))) for name, age in times.items()]
    return [*found, Lease("other", {"app": "y"}, expires(Spec(ago(1), None, 2))), Lease("empty", {"app": "x"}, None)]


def test_those_that_match_and_are_valid_are_counted():
    assert count(leases(), parse_selector("app=x"), NOW) == 2
    assert count(leases(), parse_selector(""), NOW) == 3
    assert count(leases(), parse_selector("app=z"), NOW) == 0


def lease(age_s, duration_s=30, name="one"):
    """Return a lease that was renewed `age_s` ago, by our clock."""
    return Lease(name, {}, expires(Spec(ago(age_s), None, duration_s)), duration_s)


@pytest.mark.parametrize("skew_s", [-86400, -120, -31, 0, 31, 120, 86400])
def test_whatever_the_clock_of_its_holder_a_lease_counts_while_it_is_renewed(skew_s):
    """A lease counts from its second renewal at the latest until its duration after the last one."""
    seen = Sightings()
    for at in range(0, 100, 15):
        renewed = seen.see(lease(skew_s - at), 1000 + at, NOW + timedelta(seconds=at))
        assert renewed is (at > 0)
        assert seen.valid("one", 1000 + at) or at == 0
        assert not seen.see(lease(skew_s - at), 1000 + at + 1, NOW)  # seen again, unchanged
    assert seen.ends_at("one") == 1000 + 90 + 30
    assert not seen.valid("one", 1000 + 90 + 30)


@pytest.mark.parametrize(("age_s", "left_s"), [(0, 30), (10, 20), (29, 1), (30, 0), (1000, 0), (-5, 30), (-86400, 30)])
def test_the_first_time_the_time_in_it_decides_within_its_duration(age_s, left_s):
    seen = Sightings()
    seen.see(lease(age_s), 5.0, NOW)
    assert seen.ends_at("one") == 5.0 + left_s


@pytest.mark.parametrize("age_s", [0, 1000, -1000])
def test_the_patient_give_it_its_whole_duration(age_s):
    seen = Sightings(patient=True)
    seen.see(lease(age_s), 5.0, NOW)
    assert seen.ends_at("one") == 35.0


def test_a_lease_without_times_is_never_valid_and_the_patient_wait_before_they_say_so():
    for bad in (Lease("one", {}, None), lease(0, 0), lease(0, -5)):
        seen = Sightings()
        assert not seen.see(bad, 5.0, NOW)
        assert not seen.valid("one", 5.0)
        patient = Sightings(patient=True)
        patient.see(bad, 5.0, NOW)
        assert patient.valid("one", 5.0)
        assert not patient.valid("one", 50.0)


def test_what_is_gone_or_forgotten_is_seen_for_the_first_time_again():
    seen = Sightings()
    for name in ("one", "two", "three"):
        seen.see(lease(1000, name=name), 5.0, NOW)
    seen.forget("one")
    seen.keep({"two"})
    assert [seen.see(lease(900, name=name), 6.0, NOW) for name in ("one", "two", "three")] == [False, True, False]
    assert not seen.valid("four", 0.0)


@pytest.mark.parametrize("skew_s", [-120.0, 0.0, 120.0])
def test_the_difference_of_two_clocks(skew_s):
    assert clock_difference(lease(skew_s), NOW) == skew_s
    assert clock_difference(lease(skew_s, 0), NOW) == skew_s
    assert clock_difference(Lease("one", {}, None), NOW) == 0
