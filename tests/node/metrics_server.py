"""Metrics server of a cluster, installed by the objects of its own sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from image_archive import METRICS_SERVER
from kubectl import Kubectl

API_SERVICE = "apiservice/v1beta1.metrics.k8s.io"
_AUTHORITY = "/var/run/kubelet-authority"
_FLAGS = {  # 10 s is the shortest resolution, and a request has to end within it
    "kubelet-certificate-authority": f"{_AUTHORITY}/ca.crt",
    "kubelet-request-timeout": "5s",
    "metric-resolution": "10s",
}


class MetricsServer:
    """Metrics server of a cluster: its pod, which starts early, and its API, which tests register for their time.

    Args:
        kubectl: kubectl of the cluster's administrator.
        file: the objects that `kubectl kustomize` made of the metrics server's sources.
    """

    def __init__(self, kubectl: Kubectl, file: Path) -> None:
        self._kubectl = kubectl
        self._objects = [_adapted(each) for each in yaml.safe_load_all(file.read_text())]

    def install(self) -> None:
        """Create all objects but the API, and return without a wait for the pod."""
        self._kubectl.apply(*(each for each in self._objects if each["kind"] != "APIService"))

    def register(self) -> None:
        """Register the API, and return when it is available."""
        self._kubectl.apply(*(each for each in self._objects if each["kind"] == "APIService"))
        self._kubectl.ok("wait", "--for=condition=Available", API_SERVICE, "--timeout=80s")

    def unregister(self) -> None:
        """Remove the API."""
        self._kubectl.ok("delete", API_SERVICE)


def _adapted(found: dict[str, Any]) -> dict[str, Any]:
    """Return an object; the Deployment checks the kubelets' certificates, and is ready as soon as it has figures."""
    if found["kind"] == "Deployment":
        spec = found["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        container["image"] = METRICS_SERVER
        container["imagePullPolicy"] = "Never"
        container["args"] += [f"--{flag}={value}" for flag, value in _FLAGS.items()]
        container["volumeMounts"].append({"name": "authority", "mountPath": _AUTHORITY, "readOnly": True})
        container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 60}
        spec["volumes"].append({"name": "authority", "configMap": {"name": "kube-root-ca.crt"}})
    return found
