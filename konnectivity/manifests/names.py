"""What things are called in a cluster, and the ports: the names that are established, where there are some."""

from __future__ import annotations

from typing import Any

from konnectivity import __version__

Object = dict[str, Any]  # as in YAML

NAMESPACE = "kube-system"
LEASE_NAMESPACE = "konnectivity"  # of their own: rights on the leases of kube-system reach the cluster's controllers
AGENT = "konnectivity-agent"  # workload, service account, label
SERVER = "konnectivity-server"
SERVER_USER = "system:konnectivity-server"
AUDIENCE = "system:konnectivity-server"
LABEL = "k8s-app"

AGENT_PORT = 8132
ADMIN_PORT = 8133
HEALTH_PORT = 8134

SERVER_IMAGE = f"konnectivity/proxy-server:{__version__}"
AGENT_IMAGE = f"konnectivity/proxy-agent:{__version__}"

ACCOUNT_FILES = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKENS = "/var/run/secrets/tokens"
TOKEN = "konnectivity-agent-token"


class ManifestError(ValueError):
    """What was asked for cannot be; the text says what to change."""


def metadata(name: str, namespace: str | None = NAMESPACE, labels: Object | None = None) -> Object:
    """The head of an object; without a namespace for those that have none."""
    made: Object = {"name": name}
    if namespace:
        made["namespace"] = namespace
    if labels:
        made["labels"] = labels
    return made


def labels(name: str) -> Object:
    return {LABEL: name}
