"""Objects of the test API: users, tokens, and leases with their history. Plain data under one lock; no network."""

from __future__ import annotations

import copy
import re
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from konnectivity.kube.labels import Selector

Json = dict[str, Any]
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[-+]\d\d:\d\d)")
API_AUDIENCE = "https://kubernetes.default.svc"


class ApiFailure(Exception):
    """Failure that the API answers with a `Status`."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    @property
    def status(self) -> Json:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


class Token(NamedTuple):
    """Token that the API knows."""

    user: str
    audiences: tuple[str, ...] = (API_AUDIENCE,)
    error: str = ""  # error that the review returns instead
    extra: Json = {}  # noqa: RUF012 - never changed
    uid: str = ""  # uid of the user


class Change(NamedTuple):
    """One event of a watch."""

    version: int
    kind: str
    namespace: str
    lease: Json


@dataclass
class Objects:
    """All objects of the API. `changed` is notified with every change of a lease."""

    tokens: dict[str, Token] = field(default_factory=dict)
    audience_aware: bool = True
    services: dict[tuple[str, str], Json] = field(default_factory=dict)  # Services by namespace and name
    pods: dict[tuple[str, str], Json] = field(default_factory=dict)  # pods by namespace and name
    leases: dict[tuple[str, str], Json] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 100
    _history: list[Change] = field(default_factory=list)
    _forgotten: int = 0

    # ---- TokenReview ------------------------------------------------------------------------------------------------

    def review(self, body: Json) -> Json:
        """Return the review with its `status`."""
        token = self.tokens.get(body["spec"].get("token", ""))
        wanted = body["spec"].get("audiences") or [API_AUDIENCE]
        status: Json
        if token is None:
            status = {"user": {}, "error": "[invalid bearer token, unknown token]"}
        elif token.error:
            status = {"user": {}, "error": token.error}
        elif not self.audience_aware:
            status = {"authenticated": True, "user": {"username": token.user}}
        elif common := [each for each in wanted if each in token.audiences]:
            more = {"extra": token.extra, "uid": token.uid}
            user = {"username": token.user} | {name: value for name, value in more.items() if value}
            status = {"authenticated": True, "user": user, "audiences": common}
        else:
            status = {"user": {}, "error": f"[invalid bearer token, token audiences {list(token.audiences)}]"}
        return {**body, "metadata": {}, "status": status}

    # ---- Pod --------------------------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> Json:
        if (namespace, name) not in self.services:
            raise ApiFailure(404, "NotFound", f'services "{name}" not found')
        return self.services[namespace, name]

    def pod(self, namespace: str, name: str) -> Json:
        if (namespace, name) not in self.pods:
            raise ApiFailure(404, "NotFound", f'pods "{name}" not found')
        return self.pods[namespace, name]

    # ---- Lease ------------------------------------------------------------------------------------------------------

    def list(self, namespace: str, selector: Selector) -> Json:
        with self.changed:
            items = [lease for (space, _), lease in sorted(self.leases.items()) if space == namespace]
            return {
                "kind": "LeaseList",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"resourceVersion": str(self.version)},
                "items": copy.deepcopy([lease for lease in items if selector.matches(labels_of(lease))]),
            }

    def get(self, namespace: str, name: str) -> Json:
        with self.changed:
            return copy.deepcopy(self._existing(namespace, name))

    def create(self, namespace: str, body: Json) -> Json:
        with self.changed:
            name = _checked(body)["metadata"]["name"]
            if (namespace, name) in self.leases:
                raise ApiFailure(409, "AlreadyExists", f'leases.coordination.k8s.io "{name}" already exists')
            created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            body["metadata"] |= {"uid": str(uuid.uuid4()), "namespace": namespace, "creationTimestamp": created}
            return self._store(namespace, name, body, "ADDED")

    def update(self, namespace: str, name: str, body: Json) -> Json:
        with self.changed:
            current = self._existing(namespace, _checked(body)["metadata"]["name"])["metadata"]
            if body["metadata"].get("resourceVersion", current["resourceVersion"]) != current["resourceVersion"]:
                raise _conflict(name, "the object has been modified; please apply your changes to the latest version")
            body["metadata"] |= {key: current[key] for key in ("uid", "namespace", "creationTimestamp")}
            return self._store(namespace, name, body, "MODIFIED")

    def delete(self, namespace: str, name: str, preconditions: Json) -> Json:
        with self.changed:
            metadata = self._existing(namespace, name)["metadata"]
            for key, value in preconditions.items():
                if metadata[key] != value:
                    raise _conflict(name, f"the {key} in the precondition ({value}) does not match {metadata[key]}")
            lease = self.leases.pop((namespace, name))
            self._record("DELETED", namespace, lease)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def changes(self, namespace: str, version: int, wait_s: float) -> tuple[int, tuple[Change, ...]]:
        """Wait for changes in a namespace after a version; return them, and the version they reach.

        Raises:
            ApiFailure: 410, the version is older than the history.
        """
        with self.changed:
            if self.version == version:
                self.changed.wait(wait_s)
            if version < self._forgotten:
                raise ApiFailure(410, "Expired", f"too old resource version: {version} ({self._forgotten})")
            news = (each for each in self._history if each.namespace == namespace and each.version > version)
            return self.version, tuple(news)

    def forget(self) -> None:
        """Drop the history: a client that watches from an earlier version is answered 410."""
        with self.changed:
            self.version += 1
            self._history.clear()
            self._forgotten = self.version
            self.changed.notify_all()

    def _existing(self, namespace: str, name: str) -> Json:
        lease = self.leases.get((namespace, name))
        if lease is None:
            raise ApiFailure(404, "NotFound", f'leases.coordination.k8s.io "{name}" not found')
        return lease

    def _store(self, namespace: str, name: str, lease: Json, kind: str) -> Json:
        self.leases[namespace, name] = lease
        self._record(kind, namespace, lease)
        return copy.deepcopy(lease)

    def _record(self, kind: str, namespace: str, lease: Json) -> None:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self._history.append(Change(self.version, kind, namespace, copy.deepcopy(lease)))
        self.changed.notify_all()


def labels_of(lease: Json) -> dict[str, str]:
    return lease["metadata"].get("labels") or {}


def _checked(lease: Json) -> Json:
    """Check the format of times as strictly as the real API."""
    for key in ("renewTime", "acquireTime"):
        time = lease.get("spec", {}).get(key)
        if time is not None and not _MICRO_TIME.fullmatch(time):
            raise ApiFailure(400, "BadRequest", f"Lease in version v1 cannot be handled: spec.{key}: {time!r}")
    return lease


def _conflict(name: str, why: str) -> ApiFailure:
    return ApiFailure(409, "Conflict", f'Operation cannot be fulfilled on leases.coordination.k8s.io "{name}": {why}')
