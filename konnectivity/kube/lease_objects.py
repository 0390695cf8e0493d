"""Between lightkube's Lease objects and what this project means by them. Pure, but needs lightkube."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease as LeaseObject

from konnectivity.kube.lease_validity import DURATION_S, Lease, expiry


def lease_of(found: LeaseObject) -> Lease:
    """What counts of a lease. Whatever is missing in it makes it invalid at most."""
    metadata = found.metadata or ObjectMeta()
    labels = {str(key): str(value) for key, value in (metadata.labels or {}).items()}
    duration_s = found.spec.leaseDurationSeconds if found.spec is not None else None
    return Lease(metadata.name or "", labels, expiry(found.spec), DURATION_S if duration_s is None else duration_s)


def version_of(found: LeaseObject) -> str:
    return (found.metadata and found.metadata.resourceVersion) or ""


def renewed(
    seen: LeaseObject | None,
    namespace: str,
    name: str,
    holder: str,
    labels: Mapping[str, str],
    duration_s: int,
    now: datetime,
) -> LeaseObject:
    """The lease to write: what was seen last (None: a new one) with our labels, holder and time; the rest stays."""
    metadata = (seen and seen.metadata) or ObjectMeta(name=name, namespace=namespace)
    spec = (seen and seen.spec) or LeaseSpec()
    metadata.labels = dict(labels)
    metadata.managedFields = None
    spec.holderIdentity = holder
    spec.leaseDurationSeconds = duration_s
    spec.renewTime = _with_microseconds(now)
    spec.acquireTime = spec.acquireTime and _with_microseconds(spec.acquireTime)
    return LeaseObject(metadata=metadata, spec=spec)


def _with_microseconds(time: datetime) -> datetime:
    """The API takes six digits behind the point, or refuses; a time without any is written without them."""
    return time if time.microsecond else time.replace(microsecond=1)
