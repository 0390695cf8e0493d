"""Client of the Kubernetes API: token reviews, pods and Leases, and what Leases mean.

`connect` gives a client; the client and what it needs are imported then: a program that does not talk to Kubernetes
does not carry them. `labels`, `lease_objects`, `lease_validity` and `api_answers` are pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity.kube.api_error import KubeError

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient

__all__ = ["KubeError", "connect"]


def connect(path: str = "", qps: float = 0.0, burst: int = 0) -> KubeClient:
    """Return a client for the API of a kubeconfig; no request is made yet. The caller closes the client.

    Args:
        path: a kubeconfig; empty: a pod's service account, or else the user's kubeconfig.
        qps: requests per second; 0: 5; less than 0: no limit.
        burst: requests at once; 0: 10.

    Raises:
        KubeError: there is no access, or a file cannot be used.

    """
    from konnectivity.kube import kubeconfig
    from konnectivity.kube.api_client import KubeClient

    return KubeClient(kubeconfig.load(path), qps, burst)
