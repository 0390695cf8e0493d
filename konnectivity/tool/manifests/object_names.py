"""Names and ports in a cluster: the reference's where it has some."""

from __future__ import annotations

import re
from typing import Any

from konnectivity import __version__
from konnectivity.net.addresses import shown

Object = dict[str, Any]  # as in YAML

NAMESPACE = "kube-system"
LEASE_NAMESPACE = "konnectivity"  # separate: rights on leases in kube-system would reach the cluster's controllers
AGENT = "konnectivity-agent"  # workload, service account, label
SERVER = "konnectivity-server"
SERVER_USER = "system:konnectivity-server"
AUDIENCE = "system:konnectivity-server"
LABEL = "k8s-app"

AGENT_PORT = 8132
ADMIN_PORT = 8133
HEALTH_PORT = 8134

# Names of images built here. "localhost" is no registry: an image that was not loaded is never pulled from elsewhere.
SERVER_IMAGE = f"localhost/konnectivity/proxy-server:{__version__}"
AGENT_IMAGE = f"localhost/konnectivity/proxy-agent:{__version__}"

ACCOUNT_FILES = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKENS = "/var/run/secrets/tokens"
TOKEN = "konnectivity-agent-token"


_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_LONGEST_LABEL, _LONGEST_NAME = 63, 253  # characters; RFC 1123 and the Kubernetes page "Object Names and IDs"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
# The grammar of an image reference (distribution/reference): [host[:port]/]path[:tag][@digest].
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{{1,5}})?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?",
    re.ASCII,
)
_LONGEST_IMAGE = 4096  # characters


class ManifestError(ValueError):
    """Request that cannot be fulfilled; the text says what to change."""


def check_namespace(text: str) -> str:
    """Return `text`, a namespace's name.

    Raises:
        ManifestError: the text is not a DNS label of at most 63 lower-case letters, digits and hyphens.

    """
    if len(text) > _LONGEST_LABEL or "." in text or not _SUBDOMAIN.fullmatch(text):
        raise ManifestError(
            f"{shown(text)!r} is not a name of a namespace: write lower-case letters, digits and hyphens, "
            f"at most {_LONGEST_LABEL} characters"
        )
    return text


def check_name(text: str) -> str:
    """Return `text`, the name of an object or a host in a certificate or route.

    Raises:
        ManifestError: the text is not a lower-case DNS subdomain of at most 253 characters.

    """
    if len(text) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(text):
        raise ManifestError(
            f"{shown(text)!r} is not a name: write lower-case letters, digits, hyphens and dots, "
            f"at most {_LONGEST_NAME} characters"
        )
    return text


def check_directory(text: str) -> str:
    """Return `text`, a directory of a host.

    Raises:
        ManifestError: the text is not an absolute path of printable characters without `..`.

    """
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/") or ":" in text:
        raise ManifestError(
            f"{shown(text)!r} is not a directory of a host: write an absolute path without `..` and `:`"
        )
    return text


def check_image(text: str) -> str:
    """Return `text`, the reference of an image.

    Raises:
        ManifestError: a container runtime would refuse it.

    """
    if len(text) > _LONGEST_IMAGE or not _IMAGE.fullmatch(text):
        raise ManifestError(f"{shown(text)!r} is not an image: write [HOST[:PORT]/]NAME[:TAG], the name in lower case")
    return text


def metadata(name: str, namespace: str | None = NAMESPACE, labels: Object | None = None) -> Object:
    """Return the metadata of an object; cluster-scoped objects have no namespace."""
    made: Object = {"name": name}
    if namespace:
        made["namespace"] = namespace
    if labels:
        made["labels"] = labels
    return made


def labels(name: str) -> Object:
    return {LABEL: name}
