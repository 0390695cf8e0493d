"""Patches of a Kamaji TenantControlPlane that move its kube-apiserver to a gateway, and back to a sidecar.

The addon sets kube-apiserver's egress flag itself, and Kamaji deletes the sidecar's agents at the moment when the addon
is switched off. So kube-apiserver moves while the addon is on: a file of the gateway's Secret is mounted over the
configuration that the addon's flag names. The same file serves with the addon off, when the flag is the patch's own.
"""

from __future__ import annotations

from typing import Any

from konnectivity.tool.manifests import apiserver_patch, gateway_tenant, object_names, sidecar
from konnectivity.tool.manifests.object_names import ManifestError, Object

_PATH = "spec.controlPlane.deployment"
_EGRESS = f"{sidecar.EGRESS_DIRECTORY}/{sidecar.EGRESS_FILE}"
_EGRESS_FLAG = f"{apiserver_patch.FLAG}={_EGRESS}"  # also the addon's
_MOUNTS: tuple[Object, ...] = (
    {"name": gateway_tenant.VOLUME, "mountPath": gateway_tenant.DIRECTORY, "readOnly": True},
    {"name": gateway_tenant.VOLUME, "mountPath": _EGRESS, "subPath": sidecar.EGRESS_FILE, "readOnly": True},
)


def onto_gateway(control_plane: Object) -> Object:
    """Return a merge patch that switches the addon off and lets kube-apiserver dial the gateway.

    The patch has the lists of the object with the gateway's entries, since a merge patch replaces whole lists.

    Raises:
        ManifestError: the object has lists of another form, or an egress configuration of somebody else.

    """
    return _by_gateway(control_plane, None)


def beside_addon(control_plane: Object) -> Object:
    """Return a merge patch that lets kube-apiserver dial the gateway while the addon is on, for the way there and back.

    Raises:
        ManifestError: the object has lists of another form, or an egress configuration of somebody else.

    """
    return _by_gateway(control_plane, _addon(control_plane))


def off_gateway(control_plane: Object) -> Object:
    """Return a merge patch that takes the gateway away and switches the addon on, as the object has it or by default.

    Raises:
        ManifestError: the object has lists of another form.

    """
    return _patch(_addon(control_plane), *_others(control_plane))


def _by_gateway(control_plane: Object, addon: Object | None) -> Object:
    secret = gateway_tenant.secret_name(str(control_plane["metadata"]["name"]))
    arguments, volumes, mounts = _others(control_plane)
    volume = {"name": gateway_tenant.VOLUME, "secret": {"secretName": secret}}
    return _patch(addon, [*arguments, _EGRESS_FLAG], [*volumes, volume], [*mounts, *_MOUNTS])


def _addon(control_plane: Object) -> Object:
    """Return the addon of the object, or the least that Kamaji accepts."""
    spec = control_plane.get("spec") or {}
    return (spec.get("addons") or {}).get("konnectivity") or {"server": {"port": object_names.AGENT_PORT}}


def _others(control_plane: Object) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the arguments, volumes and mounts of kube-apiserver that have nothing to do with the gateway."""
    arguments = _list(control_plane, "extraArgs", "apiServer")
    kept = [each for each in arguments if each != _EGRESS_FLAG]
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
