"""Lease objects: the fields that are read, and those that the next renewal writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from konnectivity.kube.json_object import JsonObject
from konnectivity.kube.lease_objects import StoredLease, micro_time, renewed

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)


def stored(metadata=None, spec=None, **more):
    return StoredLease.read(JsonObject({"metadata": metadata, "spec": spec, **more}))


def test_labels_times_and_version_are_read():
    found = stored(
        {"name": "a", "labels": {"app": "x"}, "resourceVersion": "7"},
        {"renewTime": "2026-01-01T12:00:00.000005Z", "leaseDurationSeconds": 40},
    )
    assert (found.lease.name, found.lease.labels, found.version) == ("a", {"app": "x"}, "7")
    assert (found.renew_time, found.lease.duration_s) == (NOW, 40)
    assert found.lease.expires == NOW + timedelta(seconds=40)


def test_a_lease_that_was_never_renewed_counts_from_its_acquisition():
    spec = {"acquireTime": "2026-01-01T12:00:00Z", "leaseDurationSeconds": 40}
    assert stored({}, spec).lease.expires == datetime(2026, 1, 1, 12, 0, 40, tzinfo=UTC)


def test_an_empty_object_is_a_lease_that_is_never_valid():
    found = stored()
    assert (found.lease.name, found.lease.expires, found.version, found.renew_time) == ("", None, "", None)


@pytest.mark.parametrize(
    "spec",
    [{"renewTime": "noon"}, {"renewTime": 5}, {"leaseDurationSeconds": "30"}, {"leaseDurationSeconds": 2**64}, []],
)
def test_fields_that_are_malformed_are_refused(spec):
    with pytest.raises(ValueError):
        stored({}, spec)


def test_a_new_lease_has_all_that_the_api_wants():
    made = renewed(None, "kube-system", "a", "me", {"app": "x"}, 30, NOW)
    assert made.content == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "a", "namespace": "kube-system", "labels": {"app": "x"}},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 30, "renewTime": "2026-01-01T12:00:00.000005Z"},
    }
    assert made.renew_time == NOW


def test_a_renewal_keeps_what_others_wrote_but_for_what_only_the_api_writes():
    seen = stored(
        {
            "name": "a",
            "namespace": "n",
            "labels": {"old": ""},
            "uid": "u",
            "managedFields": [{}],
            "resourceVersion": "7",
        },
        {"leaseTransitions": 3, "acquireTime": "2025-01-01T00:00:00.000000Z", "strategy": "unknown here"},
    )
    made = renewed(seen, "other", "other", "me", {"new": ""}, 30, NOW)
    assert made.content["metadata"] == {
        "name": "a",
        "namespace": "n",
        "labels": {"new": ""},
        "uid": "u",
        "resourceVersion": "7",
    }
    assert made.content["spec"]["leaseTransitions"] == 3
    assert made.content["spec"]["strategy"] == "unknown here"
    assert made.content["spec"]["acquireTime"] == "2025-01-01T00:00:00.000000Z"
    assert seen.content["metadata"]["labels"] == {"old": ""}  # the object that was read is not changed


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (NOW, "2026-01-01T12:00:00.000005Z"),
        (NOW.replace(microsecond=0), "2026-01-01T12:00:00.000000Z"),
        (NOW.astimezone(timezone(timedelta(hours=5))), "2026-01-01T12:00:00.000005Z"),
    ],
)
def test_times_are_written_with_six_digits_in_utc(time, text):
    assert micro_time(time) == text
