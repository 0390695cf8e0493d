"""Least privileges and resources of the programs, and their probes."""

from __future__ import annotations

from konnectivity.tool.manifests import object_names
from konnectivity.tool.manifests.object_names import Object

USER = 65532  # user id of the images

# Measured amounts with a margin: docs/operate/sizing.md.
AGENT_RESOURCES: Object = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
AGENT_RESOURCES_WITH_LEASES: Object = {**AGENT_RESOURCES, "requests": {"cpu": "20m", "memory": "48Mi"}}
SERVER_RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}

# Longer than the programs go on after SIGTERM (--drain-timeout, --graceful-shutdown-timeout: 25 s).
AGENT_GRACE_S = 30
SERVER_GRACE_S = 35


def pod_security() -> Object:
    """Return a pod security context for the restricted Pod Security Standard; the group reads the token's file."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def readiness(path: str, port: int, host: str | None = None) -> Object:
    """Return a probe that finds a program ready soon after it is, and does not ask before it can answer."""
    return probe(path, port, delay_s=3, period_s=3, host=host)


def probe(
    path: str, port: int, *, delay_s: int = 0, timeout_s: int = 5, period_s: int = 10, host: str | None = None
) -> Object:
    """Return a probe of which three failures in a row count."""
    asked: Object = {"path": path, "port": port, "scheme": "HTTP"}
    if host:
        asked["host"] = host
    made: Object = {
        "httpGet": asked,
        "timeoutSeconds": timeout_s,
        "periodSeconds": period_s,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    return {"initialDelaySeconds": delay_s, **made} if delay_s else made


def apart(label: str) -> Object:
    """Return an affinity that spreads the pods with a label over nodes where possible."""
    term = {"labelSelector": {"matchLabels": {object_names.LABEL: label}}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
