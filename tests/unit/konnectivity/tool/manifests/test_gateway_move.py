"""Tests of the patches that move a TenantControlPlane to a gateway and back."""

from __future__ import annotations

import copy

import pytest

from konnectivity.tool.manifests import gateway_move
from konnectivity.tool.manifests.object_names import ManifestError

ADDON = {"server": {"port": 9132}}
PLANE = {
    "metadata": {"name": "tenant-1", "namespace": "tenants"},
    "spec": {
        "addons": {"konnectivity": ADDON},
        "controlPlane": {
            "deployment": {
                "extraArgs": {"apiServer": ["--v=2"], "scheduler": ["--v=3"]},
                "additionalVolumes": [{"name": "audit", "emptyDir": {}}],
                "additionalVolumeMounts": {"apiServer": [{"name": "audit", "mountPath": "/audit"}]},
            }
        },
    },
}


def merged(value, patch):
    """Return a value after a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), change)
    return made


def test_arguments_and_volumes_of_others_stay():
    after = merged(PLANE, gateway_move.onto_gateway(PLANE))
    deployment = after["spec"]["controlPlane"]["deployment"]
    assert after["spec"]["addons"] == {}
    assert deployment["extraArgs"]["apiServer"][0] == "--v=2"
    assert deployment["extraArgs"]["scheduler"] == ["--v=3"]
    assert [each["name"] for each in deployment["additionalVolumes"]] == ["audit", "konnectivity-gateway"]
    volume, mounts = deployment["additionalVolumes"][1], deployment["additionalVolumeMounts"]["apiServer"][1:]
    assert volume["secret"]["secretName"] == "tenant-1-konnectivity-gateway"
    assert {each["name"] for each in mounts} == {volume["name"]}
    assert deployment["extraArgs"]["apiServer"][1].partition("=")[2] in [each["mountPath"] for each in mounts]


def test_kube_apiserver_has_the_configuration_of_the_gateway_with_the_addon_and_without():
    """Kamaji would undo another flag than the addon's, so the file that this flag names is another one."""
    both, without = (merged(PLANE, patch(PLANE)) for patch in (gateway_move.beside_addon, gateway_move.onto_gateway))
    assert both["spec"]["addons"] == PLANE["spec"]["addons"]
    assert both["spec"]["controlPlane"] == without["spec"]["controlPlane"]
    flag = (
        "--egress-selector-config-file=/etc/kubernetes/konnectivity/configurations/egress-selector-configuration.yaml"
    )
    assert both["spec"]["controlPlane"]["deployment"]["extraArgs"]["apiServer"] == ["--v=2", flag]
    assert merged(without, gateway_move.beside_addon(PLANE)) == both


def test_twice_is_once_and_back_is_as_before():
    once = merged(PLANE, gateway_move.onto_gateway(PLANE))
    assert merged(once, gateway_move.onto_gateway(once)) == once
    back = merged(once, gateway_move.off_gateway(once))
    before = copy.deepcopy(PLANE)
    before["spec"]["addons"]["konnectivity"] = {"server": {"port": 8132}}
    assert back == before


def test_a_tenant_without_lists_gets_them():
    bare = {"metadata": {"name": "t"}, "spec": {"controlPlane": {"deployment": None}}}
    deployment = merged(bare, gateway_move.onto_gateway(bare))["spec"]["controlPlane"]["deployment"]
    assert len(deployment["additionalVolumes"]) == len(deployment["extraArgs"]["apiServer"]) == 1


def test_an_egress_configuration_of_somebody_else_is_not_replaced():
    other = copy.deepcopy(PLANE)
    other["spec"]["controlPlane"]["deployment"]["extraArgs"]["apiServer"] = ["--egress-selector-config-file=/a"]
    with pytest.raises(ManifestError, match="take it out first"):
        gateway_move.onto_gateway(other)


def test_a_list_of_another_form_is_named():
    other = copy.deepcopy(PLANE)
    other["spec"]["controlPlane"]["deployment"]["additionalVolumes"] = {"a": "b"}
    with pytest.raises(ManifestError, match=r"spec\.controlPlane\.deployment\.additionalVolumes: must be a list"):
        gateway_move.onto_gateway(other)
