"""Recorder of the objects that real Kamaji makes, without the values that differ from run to run.

Writes the folder `recorded`, which tests/kamaji/test_recorded.py reads where there is no Kamaji.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

RECORDED = Path(__file__).parent / "recorded"
_METADATA = {"creationTimestamp", "generation", "managedFields", "ownerReferences", "resourceVersion", "uid"}
_CHANGING = {"checksum", "lastUpdate", "lastTransitionTime", "observedGeneration", "storage"}
_ASSIGNED = {"clusterIP", "clusterIPs", "nodePort"}  # by the API server, at random
_CHECKSUMS = (
    "component.kamaji.clastix.io/",
    "storage.kamaji.clastix.io/",
    "kubectl.kubernetes.io/",
    "deployment.kubernetes.io/",
    "deprecated.daemonset.",
)
_ACCOUNT_VOLUME = re.compile(r"^(kube-api-access)-\w+$")  # its name ends in random letters
_CLUSTER_IP = re.compile(r"\b10\.0\.0\.\d+\b")  # of the management cluster's Services
_UID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")  # also in arguments: etcd's prefix
_SECRET = "c2VjcmV0"  # "secret"


def record(name: str, found: dict[str, Any]) -> None:
    """Write one object as NAME.yaml."""
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.yaml").write_text(yaml.safe_dump(cleaned(found), width=120))


def recorded(name: str) -> dict[str, Any]:
    """Return the recorded object of that name."""
    return yaml.safe_load((RECORDED / f"{name}.yaml").read_text())


def cleaned(found: dict[str, Any]) -> dict[str, Any]:
    """Return the object without ids, times, checksums, bytes of Secrets, and status of workloads."""
    made = {key: _cleaned(value) for key, value in found.items() if key != "status"}
    if found["kind"] == "TenantControlPlane":
        made["status"] = _cleaned(found.get("status", {}))
    made["metadata"] = {key: value for key, value in made["metadata"].items() if key not in _METADATA}
    if found["kind"] == "Secret":
        made["data"] = dict.fromkeys(found.get("data", {}), _SECRET)
    return made


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _CLUSTER_IP.sub("10.0.0.1", _UID.sub("0", _ACCOUNT_VOLUME.sub(r"\1", value)))
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _cleaned(each)
        for key, each in value.items()
        if key not in _CHANGING | _ASSIGNED and key not in _METADATA and not str(key).startswith(_CHECKSUMS)
    }
