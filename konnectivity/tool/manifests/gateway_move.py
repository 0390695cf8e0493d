"""Patches of a Kamaji TenantControlPlane that move its kube-apiserver to a gateway, and back to a sidecar."""

from __future__ import annotations

from typing import Any

from konnectivity.tool.manifests import apiserver_patch, gateway_tenant, object_names
from konnectivity.tool.manifests.object_names import ManifestError, Object


def onto_gateway(control_plane: Object) -> Object:
    """Return a merge patch that switches the addon off and lets kube-apiserver dial the gateway.

    The patch has the lists of the object with one entry more, since a merge patch replaces whole lists.

    Raises:
        ManifestError: the object has lists of another form, or an egress configuration of somebody else.

    """
    name = gateway_tenant.secret_name(str(control_plane["metadata"]["name"]))
    arguments, volumes, mounts = _others(control_plane)
    volume = {"name": gateway_tenant.VOLUME, "secret": {"secretName": name}}
    mount = {"name": gateway_tenant.VOLUME, "mountPath": gateway_tenant.DIRECTORY, "readOnly": True}
    return _patch(None, [*arguments, gateway_tenant.EGRESS_FLAG], [*volumes, volume], [*mounts, mount])


def off_gateway(control_plane: Object) -> Object:
    """Return a merge patch that takes the gateway away and switches the addon on, as the object has it or by default.

    Raises:
        ManifestError: the object has lists of another form.

    """
    spec = control_plane.get("spec") or {}
    addon = (spec.get("addons") or {}).get("konnectivity") or {"server": {"port": object_names.AGENT_PORT}}
    return _patch(addon, *_others(control_plane))


def _others(control_plane: Object) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the arguments, volumes and mounts of kube-apiserver that have nothing to do with the gateway."""
    arguments = _list(control_plane, "extraArgs", "apiServer")
    kept = [each for each in arguments if each != gateway_tenant.EGRESS_FLAG]
    if foreign := [each for each in kept if str(each).startswith(f"{apiserver_patch.FLAG}=")]:
        raise ManifestError(f"{_PATH}.extraArgs.apiServer: has {foreign[0]} already; take it out first")
    volumes, mounts = (
        _list(control_plane, "additionalVolumes"),
        _list(control_plane, "additionalVolumeMounts", "apiServer"),
    )
    return kept, _without(volumes), _without(mounts)


def _without(entries: list[Any]) -> list[Any]:
    return [each for each in entries if not (isinstance(each, dict) and each.get("name") == gateway_tenant.VOLUME)]


def _list(control_plane: Object, *names: str) -> list[Any]:
    """Return a list of `spec.controlPlane.deployment`, empty if it is not there."""
    value: Any = control_plane
    for name in ("spec", "controlPlane", "deployment", *names):
        value = value.get(name) if isinstance(value, dict) else None
    if value is not None and not isinstance(value, list):
        raise ManifestError(f"{_PATH}.{'.'.join(names)}: must be a list")
    return value or []


def _patch(addon: Object | None, arguments: list[Any], volumes: list[Any], mounts: list[Any]) -> Object:
    deployment = {
        "extraArgs": {"apiServer": arguments},
        "additionalVolumes": volumes,
        "additionalVolumeMounts": {"apiServer": mounts},
    }
    return {"spec": {"addons": {"konnectivity": addon}, "controlPlane": {"deployment": deployment}}}


_PATH = "spec.controlPlane.deployment"
