"""Way of a kube-apiserver to its nodes: the object with the egress configuration that it reads, and the sidecar."""

from __future__ import annotations

from cluster_client import Object
from pod_runner import container
from tenant_plane import SERVER

_FLAG = "--egress-selector-config-file="


def way_of(spec: Object) -> tuple[str, bool]:
    """Return the name of the ConfigMap or Secret with the egress configuration, and whether the pod has the sidecar.

    The file that the flag names is in the innermost mount around its path. Without a flag the name is empty.
    """
    apiserver = container(spec, "kube-apiserver")
    paths = [each.removeprefix(_FLAG) for each in apiserver["args"] if each.startswith(_FLAG)]
    assert len(paths) < 2, paths
    sidecar = any(each["name"] == SERVER for each in spec["containers"])
    if not paths:
        return "", sidecar
    around = [each for each in apiserver["volumeMounts"] if f"{paths[0]}/".startswith(f"{each['mountPath']}/")]
    name = max(around, key=lambda each: len(each["mountPath"]))["name"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == name]
    source = volume.get("configMap") or volume["secret"]
    return source.get("name") or source["secretName"], sidecar
