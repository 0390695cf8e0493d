"""Lease objects as the Kubernetes API stores them: read, and made anew for the next renewal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from konnectivity.kube.json_object import JsonObject
from konnectivity.kube.lease_validity import DURATION_S, Lease, expiry

_KIND = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
_OF_THE_API = "managedFields"  # metadata that only the API writes


@dataclass(frozen=True, slots=True)
class StoredLease:
    """Lease object: its whole JSON, and the fields of it that are used here, checked.

    Attributes:
        content: the JSON, with fields that others wrote.
        lease: labels and validity. A time or duration that is missing makes the lease invalid at most.
        version: the resourceVersion; empty for an object that was not stored yet.
        renew_time: time of the last renewal by its holder's clock.

    """

    content: Mapping[str, Any]
    lease: Lease
    version: str
    renew_time: datetime | None

    @classmethod
    def read(cls, found: JsonObject) -> Self:
        """Return the Lease that a JSON object holds.

        Raises:
            ValueError: a field has the wrong type, or a time is malformed.

        """
        metadata, spec = found.object("metadata"), found.object("spec")
        renewed_at, acquired_at = _time(spec, "renewTime"), _time(spec, "acquireTime")
        duration_s = spec.integer("leaseDurationSeconds")
        lease = Lease(
            metadata.text("name"),
            metadata.text_map("labels"),
            expiry(renewed_at or acquired_at, duration_s),
            DURATION_S if duration_s is None else duration_s,
        )
        return cls(found.fields, lease, metadata.text("resourceVersion"), renewed_at)


def renewed(
    seen: StoredLease | None,
    namespace: str,
    name: str,
    holder: str,
    labels: Mapping[str, str],
    duration_s: int,
    now: datetime,
) -> StoredLease:
    """Return the Lease to write next: labels, holder, duration and time are ours, all other fields stay as seen.

    Args:
        seen: the object as it was stored last; None: there is none yet.
        namespace: of a new object.
        name: of a new object.
        holder: identity of the server.
        labels: all labels of the object.
        duration_s: seconds from a renewal until the lease expires.
        now: time of the renewal.

    """
    content = {} if seen is None else seen.content
    metadata = {"name": name, "namespace": namespace, **(content.get("metadata") or {}), "labels": dict(labels)}
    metadata.pop(_OF_THE_API, None)
    ours = {"holderIdentity": holder, "leaseDurationSeconds": duration_s, "renewTime": micro_time(now)}
    spec = {**(content.get("spec") or {}), **ours}
    return StoredLease.read(JsonObject({**_KIND, "metadata": metadata, "spec": spec}))


def micro_time(time: datetime) -> str:
    """Return a time in the one form the API takes in a Lease: UTC, with six digits behind the point."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _time(spec: JsonObject, name: str) -> datetime | None:
    text = spec.text(name)
    return datetime.fromisoformat(text) if text else None
