"""Answers of the Kubernetes API, read strictly: token reviews, pods, lists and watches of Leases, refusals. Pure.

Raises ValueError for everything that cannot be what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from konnectivity.kube.json_object import JsonObject, decode
from konnectivity.kube.lease_objects import StoredLease


class Review(NamedTuple):
    """Verdict of the API on a token."""

    authenticated: bool
    user: str
    audiences: tuple[str, ...]  # those asked for that the token is meant for; empty from an API without audiences
    error: str
    extra: Mapping[str, tuple[str, ...]]  # further facts about the user
    uid: str = ""  # of the user; a service account's is drawn at random


class PodPlace(NamedTuple):
    """Node and addresses of a pod."""

    uid: str
    node: str
    addresses: tuple[str, ...]  # the node's, and the pod's own


class Event(NamedTuple):
    """Line of a watch: `kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    stored: StoredLease


class ApiStatus(NamedTuple):
    """Refusal of the API."""

    code: int
    reason: str
    message: str


def review(data: bytes) -> Review:
    """Return the verdict in a TokenReview."""
    status = decode(data).object("status")
    user = status.object("user")
    extra = user.object("extra")
    return Review(
        status.flag("authenticated"),
        user.text("username"),
        status.texts("audiences"),
        status.text("error"),
        {key: extra.texts(key) for key in extra.fields},
        user.text("uid"),
    )


def pod_place(data: bytes) -> PodPlace:
    """Return the node and the addresses in a Pod."""
    pod = decode(data)
    status = pod.object("status")
    ips = [status.text("hostIP"), status.text("podIP")]
    ips += [each.text("ip") for name in ("hostIPs", "podIPs") for each in status.objects(name)]
    uid = pod.object("metadata").required_text("uid")
    return PodPlace(uid, pod.object("spec").text("nodeName"), tuple(dict.fromkeys(filter(None, ips))))


def service_addresses(data: bytes) -> tuple[str, ...]:
    """Return the cluster addresses of a Service; `None` among them marks a headless one."""
    spec = decode(data).object("spec")
    return tuple(dict.fromkeys(filter(None, (spec.text("clusterIP"), *spec.texts("clusterIPs")))))


def lease(data: bytes) -> StoredLease:
    """Return a Lease."""
    return StoredLease.read(decode(data))


def lease_list(data: bytes) -> tuple[list[StoredLease], str]:
    """Return the Leases of a list, and the version that a watch continues from."""
    found = decode(data)
    leases = [StoredLease.read(each) for each in found.objects("items")]
    return leases, found.object("metadata").required_text("resourceVersion")


def event(line: bytes) -> Event | ApiStatus:
    """Return the event in one line of a watch, or the refusal that ends the watch."""
    found = decode(line)
    kind = found.required_text("type")
    if "object" not in found:
        raise ValueError("object is missing")
    if kind == "ERROR":
        return _status(found.object("object"))
    return Event(kind, StoredLease.read(found.object("object")))


def refusal(data: bytes, code: int, phrase: str) -> ApiStatus:
    """Return the refusal in an answer; one that is no Status, as of a load balancer, has the reason phrase alone."""
    try:
        said = _status(decode(data))
    except ValueError:
        return ApiStatus(code, phrase, "")
    return ApiStatus(code, said.reason or phrase, said.message)


def _status(found: JsonObject) -> ApiStatus:
    return ApiStatus(found.integer("code") or 0, found.text("reason"), found.text("message"))
