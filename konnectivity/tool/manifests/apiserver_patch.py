"""Patch for kube-apiserver: one flag, and mounts of two files of the host."""

from __future__ import annotations

from konnectivity.tool.manifests import server_pod
from konnectivity.tool.manifests.object_names import Object

CONTAINER = "kube-apiserver"
FLAG = "--egress-selector-config-file"
EGRESS_FILE = "egress-selector.yaml"


def static_pod_patch(files: str = server_pod.FILES, sockets: str = server_pod.SOCKETS) -> list[Object]:
    """Return a JSON patch for kube-apiserver's static pod, for kubeadm's --patches (kube-apiserver0+json.yaml)."""
    egress = f"{files}/{EGRESS_FILE}"
    spec = "/spec"
    first = f"{spec}/containers/0"
    return [
        {"op": "test", "path": f"{first}/name", "value": CONTAINER},
        {"op": "add", "path": f"{first}/command/-", "value": f"{FLAG}={egress}"},
        *(
            {
                "op": "add",
                "path": f"{first}/volumeMounts/-",
                "value": {"name": name, "mountPath": path, "readOnly": True},
            }
            for name, path in (("konnectivity-egress", egress), ("konnectivity-uds", sockets))
        ),
        *(
            {
                "op": "add",
                "path": f"{spec}/volumes/-",
                "value": {"name": name, "hostPath": {"path": path, "type": kind}},
            }
            for name, path, kind in (
                ("konnectivity-egress", egress, "File"),
                ("konnectivity-uds", sockets, "Directory"),
            )
        ),
    ]
