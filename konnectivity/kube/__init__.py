"""The Kubernetes API, as far as the two programs need it: token reviews and leases.

`connect` gives a client. All of it that needs the extra `konnectivity[kubernetes]` is imported there and not before:
a program that does not talk to Kubernetes does not pay for it. `labels`, `lease` and `bucket` are pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity.kube.api_error import KubeError

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient

__all__ = ["KubeError", "connect"]


def connect(kubeconfig: str = "", qps: float = 0.0, burst: int = 0) -> KubeClient:
    """A client for the API of a kubeconfig; without one: of the cluster that this runs in, else of the user's.

    Nothing is asked yet. Its `close` ends it.

    Args:
        kubeconfig: a file.
        qps, burst: requests a second, and at once; 0: 5 and 10; less than 0: no limit.

    Raises:
        KubeError: there is no access, a file cannot be used, or the extra is not installed.

    """
    try:
        from konnectivity.kube import kubeconfig as configs
        from konnectivity.kube.api_client import KubeClient
    except ModuleNotFoundError as error:
        raise KubeError(f"{error.name} is missing: install konnectivity[kubernetes]") from error
    return KubeClient(configs.load(kubeconfig), qps, burst)
