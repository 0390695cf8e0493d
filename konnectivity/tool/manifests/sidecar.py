"""Server as a sidecar of kube-apiserver in a hosted control plane; and the pod with and without this sidecar."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from konnectivity.tool.manifests import apiserver_patch, extra_arguments, hardening, object_names, server_pod
from konnectivity.tool.manifests.object_names import ManifestError, Object

SOCKETS = "/run/konnectivity"
UDS_VOLUME, EGRESS_VOLUME, KUBECONFIG_VOLUME, TLS_VOLUME = (
    "konnectivity-uds",
    "egress-selector-configuration",
    "konnectivity-server-kubeconfig",
    "konnectivity-server-tls",
)
_VOLUMES = {UDS_VOLUME, EGRESS_VOLUME, KUBECONFIG_VOLUME, TLS_VOLUME}
EGRESS_DIRECTORY = "/etc/kubernetes/konnectivity/configurations"
EGRESS_FILE = "egress-selector-configuration.yaml"
KUBECONFIG_FILE = "konnectivity-server.conf"


@dataclass(frozen=True)
class Sidecar:
    """Container and volumes for the pod; mounts and a flag for its kube-apiserver."""

    container: Object
    volumes: Sequence[Object]
    mounts: Sequence[Object]
    flag: str


def hosted(
    settings: server_pod.ServerManifest, *, tls_secret: str, kubeconfig_secret: str, egress_config_map: str
) -> Sidecar:
    """Return the sidecar with certificate, kubeconfig and egress configuration from the pod's namespace."""
    flags = settings.all_flags() | {
        "--uds-name": f"{SOCKETS}/{server_pod.SOCKET}",
        "--cluster-cert": "/etc/konnectivity/tls/tls.crt",
        "--cluster-key": "/etc/konnectivity/tls/tls.key",
        "--kubeconfig": f"/etc/konnectivity/kubeconfig/{KUBECONFIG_FILE}",
    }
    del flags["--health-bind-address"]  # the kubelet connects from outside the pod
    flags |= settings.flags
    health = extra_arguments.port_of(flags, "--health-port")
    container: Object = {
        "name": object_names.SERVER,
        "image": settings.image,
        "command": ["/proxy-server"],
        "args": extra_arguments.rendered(flags),
        "ports": server_pod.container_ports(flags),
        "livenessProbe": hardening.probe("/healthz", health, delay_s=10),
        "resources": hardening.SERVER_RESOURCES,
        "securityContext": hardening.container_security(),
        "volumeMounts": [
            {"name": TLS_VOLUME, "mountPath": "/etc/konnectivity/tls", "readOnly": True},
            {"name": KUBECONFIG_VOLUME, "mountPath": "/etc/konnectivity/kubeconfig", "readOnly": True},
            {"name": UDS_VOLUME, "mountPath": SOCKETS},
        ],
    }
    certificate: Object = {"name": TLS_VOLUME, "secret": {"secretName": tls_secret}}
    volumes = [*shared_volumes(egress_config_map, kubeconfig_secret), certificate]
    return beside_apiserver(container, volumes)


def beside_apiserver(container: Object, volumes: Sequence[Object]) -> Sidecar:
    """Return the sidecar with what its kube-apiserver needs."""
    mounts: list[Object] = [
        {"name": UDS_VOLUME, "mountPath": SOCKETS},
        {"name": EGRESS_VOLUME, "mountPath": EGRESS_DIRECTORY, "readOnly": True},
    ]
    return Sidecar(container, volumes, mounts, f"{apiserver_patch.FLAG}={EGRESS_DIRECTORY}/{EGRESS_FILE}")


def shared_volumes(egress_config_map: str, kubeconfig_secret: str) -> list[Object]:
    return [
        {"name": UDS_VOLUME, "emptyDir": {"medium": "Memory"}},
        {"name": EGRESS_VOLUME, "configMap": {"name": egress_config_map, "defaultMode": 0o644}},
        {"name": KUBECONFIG_VOLUME, "secret": {"secretName": kubeconfig_secret, "defaultMode": 0o644}},
    ]


def deployment_patch(sidecar: Sidecar, name: str, namespace: str) -> Object:
    """Return a strategic merge patch. It cannot add the flag: such a patch replaces the whole list of arguments."""
    spec = {
        "containers": [
            sidecar.container,
            {"name": apiserver_patch.CONTAINER, "volumeMounts": list(sidecar.mounts)},
        ],
        "volumes": list(sidecar.volumes),
    }
    head = object_names.metadata(name, namespace)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": {"template": {"spec": spec}}}


def added(sidecar: Sidecar, manifest: Object) -> Object:
    """Return the pod, or the workload that creates pods, with the server added; adding it twice changes nothing.

    Raises:
        ManifestError: the pod has no kube-apiserver.

    """
    made = removed(manifest)
    spec = _pod_spec(made)
    its = _apiserver(spec)
    spec["containers"].append(copy.deepcopy(sidecar.container))
    spec.setdefault("volumes", []).extend(copy.deepcopy(list(sidecar.volumes)))
    its.setdefault("volumeMounts", []).extend(copy.deepcopy(list(sidecar.mounts)))
    its.setdefault(_where_arguments_are(its), []).append(sidecar.flag)
    return made


def removed(manifest: Object) -> Object:
    """Return the pod or workload without the server.

    Raises:
        ManifestError: the pod has no kube-apiserver.

    """
    made = copy.deepcopy(manifest)
    spec = _pod_spec(made)
    its = _apiserver(spec)
    spec["containers"] = [each for each in spec["containers"] if each.get("name") != object_names.SERVER]
    for owner, key in ((spec, "volumes"), (its, "volumeMounts")):
        if key in owner:
            owner[key] = [each for each in _entries(owner, key) if each.get("name") not in _VOLUMES]
            if not owner[key]:
                del owner[key]
    for where in ("command", "args"):
        if where in its:
            its[where] = [each for each in its[where] or [] if not str(each).startswith(f"{apiserver_patch.FLAG}=")]
    return made


def _where_arguments_are(container: Object) -> str:
    return "args" if container.get("args") or not container.get("command") else "command"


def _pod_spec(manifest: Object) -> Object:
    spec = manifest.get("spec")
    if manifest.get("kind") != "Pod" and isinstance(spec, dict):
        template = spec.get("template")
        spec = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(spec, dict):
        raise ManifestError(f"a {manifest.get('kind')} has no pod in it; give a Pod, a Deployment or a StatefulSet")
    return spec


def _apiserver(spec: Object) -> Object:
    for each in _entries(spec, "containers"):
        if each.get("name") == apiserver_patch.CONTAINER:
            return each
    raise ManifestError(f"no container {apiserver_patch.CONTAINER} in it")


def _entries(where: Object, key: str) -> list[Object]:
    entries = where.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ManifestError(f"{key} is not a list of objects")
    return entries
