"""Kubeconfig with one cluster and one user."""

from __future__ import annotations

import json
from collections.abc import Mapping


def kubeconfig(cluster: Mapping[str, str], user: Mapping[str, str]) -> str:
    """Return the text of a kubeconfig, as JSON, which is YAML too.

    Args:
        cluster: address and CA of the API server.
        user: credentials.
    """
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
    )
