"""Programs of a Kubernetes cluster, as tests/cluster/build.sh builds them."""

from __future__ import annotations

import os
import subprocess

from support.checkout import ROOT

PROGRAMS = (ROOT / ".cache" / "bin").resolve()
BUILD_TIMEOUT_S = 2400


def missing() -> list[str]:
    """Build the programs if CI runs the tests; return the names of programs that are missing."""
    if os.environ.get("CI"):
        subprocess.run(["sh", str(ROOT / "tests/cluster/build.sh")], check=True, timeout=BUILD_TIMEOUT_S)
    return [] if (PROGRAMS / "kube").exists() else [f"{PROGRAMS / 'kube'} (`make e2e` builds it)"]
