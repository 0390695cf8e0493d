"""Server as a sidecar: added to an existing pod, and removed again."""

from __future__ import annotations

import copy

import pytest

from konnectivity.tool.manifests import apiserver_patch, server_pod, sidecar
from konnectivity.tool.manifests.object_names import ManifestError

BESIDE = sidecar.hosted(
    server_pod.ServerManifest(), tls_secret="server", kubeconfig_secret="kubeconfig", egress_config_map="egress"
)
API_SERVER = {"name": "kube-apiserver", "image": "x", "args": ["--secure-port=6443"]}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [API_SERVER]}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": POD["spec"]}}}


def spec_of(manifest):
    return manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("manifest", [POD, DEPLOYMENT], ids=["Pod", "Deployment"])
def test_container_volumes_mounts_and_flag_are_added(manifest):
    before = copy.deepcopy(manifest)
    spec = spec_of(sidecar.added(BESIDE, manifest))
    its, ours = spec["containers"]
    assert its["args"] == ["--secure-port=6443", BESIDE.flag]
    assert ours == BESIDE.container
    volumes = {each["name"] for each in spec["volumes"]}
    assert {each["name"] for each in its["volumeMounts"] + ours["volumeMounts"]} == volumes
    assert manifest == before


def test_twice_is_the_same_as_once():
    once = sidecar.added(BESIDE, POD)
    assert sidecar.added(BESIDE, once) == once


def test_taken_out_it_is_as_before_and_its_own_volumes_stay():
    before = copy.deepcopy(POD)
    before["spec"]["volumes"] = [{"name": "certs", "hostPath": {"path": "/etc"}}]
    before["spec"]["containers"][0]["volumeMounts"] = [{"name": "certs", "mountPath": "/etc"}]
    assert sidecar.removed(sidecar.added(BESIDE, before)) == before


def test_the_flag_goes_where_the_others_are():
    pod = copy.deepcopy(POD)
    pod["spec"]["containers"][0] = {"name": "kube-apiserver", "command": ["kube-apiserver", "--a"]}
    assert sidecar.added(BESIDE, pod)["spec"]["containers"][0]["command"][-1] == BESIDE.flag


def test_another_egress_configuration_is_replaced():
    pod = copy.deepcopy(POD)
    pod["spec"]["containers"][0]["args"].append(f"{apiserver_patch.FLAG}=/old.yaml")
    assert f"{apiserver_patch.FLAG}=/old.yaml" not in sidecar.added(BESIDE, pod)["spec"]["containers"][0]["args"]


def test_the_socket_is_where_the_apiserver_sees_it():
    (flag,) = [each for each in BESIDE.container["args"] if each.startswith("--uds-name=")]
    assert flag == f"--uds-name={sidecar.SOCKETS}/{server_pod.SOCKET}"
    assert sidecar.SOCKETS in [each["mountPath"] for each in BESIDE.mounts]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"kind": "Service", "spec": {}}, "a Service has no pod"),
        ({"kind": "Pod"}, "a Pod has no pod"),
        ({"kind": "Pod", "spec": {"containers": [{"name": "other"}]}}, "no container kube-apiserver"),
        ({"kind": "Pod", "spec": {"containers": "x"}}, "containers is not a list"),
    ],
)
def test_what_has_no_kube_apiserver(manifest, why):
    with pytest.raises(ManifestError, match=why):
        sidecar.added(BESIDE, manifest)
