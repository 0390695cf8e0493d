"""TenantControlPlane: every field of `spec.addons.konnectivity`, Kamaji's defaults, and its rules."""

from __future__ import annotations

import pytest

from konnectivity.tool.manifests import tenant_control_plane
from konnectivity.tool.manifests.object_names import ManifestError


def tcp(konnectivity=None, **spec):
    addons = {} if konnectivity is None else {"addons": {"konnectivity": konnectivity}}
    return {
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": {"name": "t1", "namespace": "tenants"},
        "spec": {"kubernetes": {"version": "v1.33.1"}, **addons, **spec},
    }


def addon(konnectivity):
    return tenant_control_plane.parse(tcp(konnectivity)).addon


def test_an_absent_addon_is_a_disabled_one():
    assert addon(None) is None
    assert tenant_control_plane.parse(tcp(addons={"konnectivity": None})).addon is None


@pytest.mark.parametrize("empty", [{}, {"agent": {}}, {"agent": None, "server": None}])
def test_an_empty_one_has_all_the_defaults(empty):
    found = addon(empty)
    assert found.server == tenant_control_plane.ServerAddon(
        port=8132,
        image="registry.k8s.io/kas-network-proxy/proxy-server",
        version="",
        resources=None,
        extra_args=(),
        security_context=None,
    )
    assert found.agent == tenant_control_plane.AgentAddon(
        image="registry.k8s.io/kas-network-proxy/proxy-agent",
        version="",
        tolerations=({"key": "CriticalAddonsOnly", "operator": "Exists"},),
        extra_args=(),
        host_network=False,
        mode="DaemonSet",
        replicas=None,
    )


def test_every_field_is_read():
    limits, taint = {"limits": {"memory": "1Gi"}}, {"key": "a", "operator": "Exists"}
    found = addon(
        {
            "server": {
                "port": 9132,
                "image": "r/server",
                "version": "v1",
                "resources": limits,
                "extraArgs": ["--v=2"],
                "securityContext": {"runAsUser": 1},
            },
            "agent": {
                "image": "r/agent",
                "version": "v2",
                "tolerations": [taint],
                "extraArgs": ["--v=3"],
                "hostNetwork": True,
                "mode": "Deployment",
                "replicas": 4,
            },
        }
    )
    assert found.server == tenant_control_plane.ServerAddon(9132, "r/server", "v1", limits, ["--v=2"], {"runAsUser": 1})
    assert found.agent == tenant_control_plane.AgentAddon("r/agent", "v2", [taint], ["--v=3"], True, "Deployment", 4)


def test_empty_lists_and_objects_are_what_they_say():
    found = addon({"agent": {"tolerations": []}, "server": {"port": 8132, "securityContext": {}, "resources": {}}})
    assert found.agent.tolerations == []
    assert found.server.resources == {}
    assert found.server.security_context == {}


@pytest.mark.parametrize(
    ("konnectivity", "why"),
    [
        ({"server": {"image": "x"}}, "server.port: is needed where server is given"),
        ({"server": {"port": 443}}, "server.port: port 443: the server listens on ports 1024 to 49151"),
        ({"server": {"port": "8132"}}, "server.port: must be a whole number, not a text"),
        ({"server": {"port": True}}, "server.port: must be a whole number, not true or false"),
        ({"server": []}, "konnectivity.server: must be an object, not a list"),
        ({"agent": {"replicas": 2}}, "agent.replicas: replicas are for mode Deployment"),
        ({"agent": {"mode": "DaemonSet", "replicas": 1}}, "agent.replicas: replicas are for mode Deployment"),
        (
            {"agent": {"mode": "Deployment", "replicas": 0}},
            "agent.replicas: replicas of a Deployment must be 1 or more",
        ),
        ({"agent": {"mode": "Pod"}}, "agent.mode: mode 'Pod': must be DaemonSet or Deployment"),
        ({"agent": {"hostNetwork": "yes"}}, "agent.hostNetwork: must be true or false, not a text"),
        ({"agent": {"extraArgs": ["--v", 3]}}, r"agent.extraArgs\[1\]: must be a text, not a whole number"),
        ({"agent": {"tolerations": ["x"]}}, r"agent.tolerations\[0\]: must be an object, not a text"),
        ({"agent": {"resources": {}}}, "agent.resources: no such field; there are image, version"),
        (
            {"server": {"port": 8132, "resources": {"memory": "1Gi"}}},
            "server.resources.memory: no such field; there are",
        ),
        ({"agent": {"replica": 2}}, "agent.replica: no such field; there are image, version"),
        ({"enabled": True}, "konnectivity.enabled: no such field; there are server, agent"),
        ("yes", "konnectivity: must be an object, not a text"),
    ],
)
def test_what_kamaji_refuses_is_refused_with_its_place(konnectivity, why):
    with pytest.raises(ManifestError, match=f"spec.addons.konnectivity.*{why}|^spec.addons.{why}"):
        addon(konnectivity)


def test_a_daemon_set_with_no_replicas_is_fine():
    assert addon({"agent": {"replicas": 0}}).agent.replicas == 0


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({**tcp(), "kind": "Pod"}, "is kamaji.clastix.io/v1alpha1 Pod, not"),
        ({**tcp(), "apiVersion": "v1"}, "is v1 TenantControlPlane, not"),
        ({}, "is of no kind, not"),
        ([], "must be an object, not a list"),
        ({**tcp(), "metadata": {}}, "metadata.name: is needed"),
        ({**tcp(), "spec": 3}, "spec: must be an object, not a whole number"),
    ],
)
def test_what_is_no_tenant_control_plane(manifest, why):
    with pytest.raises(ManifestError, match=why):
        tenant_control_plane.parse(manifest)


def address(network=None, gateway=None, endpoint=None):
    made = tcp({}, networkProfile=network or {}, controlPlane={"gateway": gateway} if gateway else {})
    return tenant_control_plane.parse({**made, "status": {"controlPlaneEndpoint": endpoint}}).address


def test_agents_go_where_kamaji_sends_them():
    network = {"address": "10.0.0.1", "advertiseAddress": "10.0.0.2"}
    gateway = {"hostname": "t1.example.com:6443", "parentRefs": [{"name": "gw"}]}
    assert address(network, gateway, "10.0.0.3:6443") == "t1.example.com"
    assert address(network, None, "10.0.0.3:6443") == "10.0.0.2"
    assert address({"address": "10.0.0.1"}, None, "10.0.0.3:6443") == "10.0.0.3"
    assert address(None, None, "[fd00::3]:6443") == "fd00::3"
    assert address({"address": "10.0.0.1"}) == "10.0.0.1"
    assert address() == ""


def test_there_are_two_replicas_unless_it_says_how_many():
    assert tenant_control_plane.parse(tcp({})).replicas == 2
    assert tenant_control_plane.parse(tcp({}, controlPlane={"deployment": {"replicas": 3}})).replicas == 3
