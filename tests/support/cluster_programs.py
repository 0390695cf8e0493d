"""Programs of a Kubernetes cluster of one release, as tests/cluster/build.sh builds them."""

from __future__ import annotations

import os
import re
import subprocess

from support.checkout import ROOT

SOURCES = ROOT / "tests/cluster/kube"
BUILD_TIMEOUT_S = 2400


def versions() -> dict[str, str]:
    """Return the patch version of each release that can be built; the first is the default."""
    found = {}
    for file in (SOURCES / "go.mod", *sorted(SOURCES.glob("go-*.mod"))):
        version = re.search(r"^\tk8s.io/kubernetes (v(\d+\.\d+)\.\d+)$", file.read_text(), re.MULTILINE)
        assert version is not None, file
        found[version[2]] = version[1]
    return found


RELEASE = os.environ.get("KUBERNETES") or next(iter(versions()))
# An API server that speaks SPDY to kubelets takes the end of an exec's connection for the end of its command, and may
# lose the end of a long output that is read slowly, whatever lies between it and the kubelet.
SPDY_TO_KUBELETS = RELEASE in ("1.35",)
PROGRAMS = (ROOT / ".cache/bin").resolve() / f"kubernetes-{RELEASE}"
KUBE = PROGRAMS / "kube"  # all programs of Kubernetes, etcd and kubectl
NAMES = ("kube", "node", "metrics-server")


def missing() -> list[str]:
    """Build the programs if CI runs the tests; return the names of programs that are missing."""
    if os.environ.get("CI"):
        subprocess.run(["sh", str(ROOT / "tests/cluster/build.sh")], check=True, timeout=BUILD_TIMEOUT_S)
    return [f"{PROGRAMS / name} (`make e2e` builds it)" for name in NAMES if not (PROGRAMS / name).exists()]
