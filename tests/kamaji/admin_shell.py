"""Shell of the administrator of the management cluster, with kubectl, konnectivity and the kubeconfigs of tenants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from management_cluster import KUBE, ManagementCluster
from tenant_plane import TenantPlane

from support.checkout import ROOT
from support.shell import Shell


@contextmanager
def admin_shell(management: ManagementCluster, directory: Path, *planes: TenantPlane) -> Iterator[Shell]:
    """Yield a shell in a folder that has NAME.kubeconfig of each tenant."""
    kubectl = directory / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/bin/sh\nexec {KUBE} kubectl "$@"\n')
    kubectl.chmod(0o755)
    for each in planes:
        (directory / f"{each.name}.kubeconfig").write_bytes(each.kubeconfig.read_bytes())
    path = f"{kubectl.parent}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "KUBECONFIG": str(management.path("management.kubeconfig"))}
    with Shell(directory, environment, management.namespaces.within(management.namespaces.hub)) as shell:
        yield shell
