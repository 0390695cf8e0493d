"""Search for the Kubernetes API: a named kubeconfig, a pod's service account, or the user's kubeconfig.

`load` gives the access. Opens no connection; `kubeconfig_files` reads the files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from konnectivity.kube.api_access import Access, Material
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.kubeconfig_files import current_access

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_FILE = "~/.kube/config"


def load(path: str = "", environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of a kubeconfig; without `path` that of a pod's service account, or else the user's kubeconfig.

    Raises:
        KubeError: there is none, or it cannot be used.

    """
    if path:
        return current_access([path])
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if host and port and os.path.exists(service_account / "token"):
        return in_cluster(host, port, service_account)
    named = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    found = [each for each in named or [os.path.expanduser(DEFAULT_FILE)] if os.path.exists(each)]
    if not found:
        tried = ", ".join(named) or DEFAULT_FILE
        raise KubeError(f"no --kubeconfig, no service account at {service_account}, and no kubeconfig at {tried}")
    return current_access(found)


def in_cluster(host: str, port: str, service_account: Path) -> Access:
    """Return the access that every pod has."""
    return Access(
        source=f"the service account at {service_account}",
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca=Material("CA bundle", str(service_account / "ca.crt")),
        token_file=str(service_account / "token"),
    )
