"""Program that serves token reviews in the place of a tenant's kube-apiserver, in a network namespace of its own.

    python review_api.py DIRECTORY TOKEN

It writes kubeconfig into the directory and ends with a signal.
"""

from __future__ import annotations

import base64
import signal
import sys
from pathlib import Path

from support.kubernetes_api import KubernetesApi

ACCOUNT = "system:serviceaccount:kube-system:konnectivity-agent"
AUDIENCE = "system:konnectivity-server"


def main(directory: Path, token: str) -> None:
    with KubernetesApi(directory) as api:
        api.add_token(token, ACCOUNT, AUDIENCE)
        ca = base64.b64encode(api.authority.certificate_pem).decode()  # in the file, as in Kamaji's kubeconfigs
        cluster = {"server": api.url, "certificate-authority-data": ca}
        api.kubeconfig(directory / "kubeconfig", cluster=cluster)
        print("serving", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(Path(sys.argv[1]), sys.argv[2])
