"""Kubernetes Secrets of the type kubernetes.io/tls. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from konnectivity.tool.pki.issuance import Made


def secret(made: Made, ca_pems: Mapping[str, bytes], namespace: str) -> dict[str, Any]:
    """Return the Secret `konnectivity-<stem>`; its `ca.crt` is the CA that the holder has to trust."""
    ca_pem = made.cert_pem if made.role is None else ca_pems[made.role.authority]
    data = {"tls.crt": made.cert_pem, "tls.key": made.key_pem or b"", "ca.crt": ca_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"konnectivity-{made.stem}", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
    }
