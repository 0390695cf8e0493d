"""Kubeconfig for one user of one cluster, with all certificates and keys inside it. Pure."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

CLUSTER = "kubernetes"


def with_certificate(certificate: bytes, key: bytes) -> dict[str, str]:
    """Return the credential of a user with a client certificate."""
    return {"client-certificate-data": _data(certificate), "client-key-data": _data(key)}


def with_token_file(path: str) -> dict[str, str]:
    """Return the credential of a user whose token is in a file that another program renews."""
    return {"tokenFile": path}


def document(server: str, ca: bytes, user: str, credential: dict[str, str], server_name: str = "") -> dict[str, Any]:
    """Return the content of the file.

    Raises:
        ValueError: `server` is no https:// address.

    """
    _check_server(server)
    context = f"{user}@{CLUSTER}"
    cluster = {"server": server, "certificate-authority-data": _data(ca)}
    if server_name:
        cluster["tls-server-name"] = server_name
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CLUSTER, "cluster": cluster}],
        "users": [{"name": user, "user": credential}],
        "contexts": [{"name": context, "context": {"cluster": CLUSTER, "user": user}}],
        "current-context": context,
    }


def _check_server(server: str) -> None:
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{server!r} is no address: {error}") from error
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{server!r} is no address like https://127.0.0.1:6443")


def _data(content: bytes) -> str:
    return base64.b64encode(content).decode()
