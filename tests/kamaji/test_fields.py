"""Tests of every field of `spec.addons.konnectivity` with real Kamaji: its objects have them and carry traffic."""

from __future__ import annotations

import pytest
import yaml
from management_cluster import TENANTS
from pod_runner import container
from recorder import record
from tenant_objects import konnectivity, tenant
from tenant_plane import SYSTEM

from support.waiting import until

SERVER = {
    "port": 9132,
    "image": "registry.example/k/server",
    "version": "v1",
    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}},
    "extraArgs": ["--keepalive-time=30s", "-v=3", "--proxy-strategies=destHost,default", "--mode=http-connect"],
    "securityContext": {
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    },
}
AGENT = {
    "image": "registry.example/k/agent",
    "version": "v1",
    "hostNetwork": True,
    "mode": "Deployment",
    "replicas": 2,
    "tolerations": [{"operator": "Exists"}],
    "extraArgs": ["-v=2", "--keepalive-time=30s", "--sync-interval=1s", "--agent-identifiers=default-route=true"],
}


@pytest.fixture(scope="module")
def plane(planes):
    return planes("fields")


def args(found, kind):
    """Return the arguments of the agent in a workload, or of the server in a Deployment of the control plane."""
    return container(found["spec"]["template"]["spec"], f"konnectivity-{kind}")["args"]


def test_the_crd_refuses_a_field_that_it_does_not_know(plane):
    """Today's CRD has no `agent.resources`: the API server drops the field, and a strict validation refuses it."""
    made = tenant("refused")
    made["spec"]["addons"]["konnectivity"]["agent"]["resources"] = {"limits": {"memory": "64Mi"}}
    refused = plane.admin.error("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(made).encode())
    assert 'unknown field "spec.addons.konnectivity.agent.resources"' in refused


def test_kamajis_webhooks_judge_our_patches(plane):
    """A change that the CRD allows and Kamaji's webhook does not is refused, so the webhooks see every patch here."""
    older = '{"spec": {"kubernetes": {"version": "v1.32.0"}}}'
    refused = plane.admin.error("-n", TENANTS, "patch", "tcp", plane.name, "--type=merge", "-p", older)
    assert 'admission webhook "vtenantcontrolplane.kb.io" denied the request' in refused


def test_an_empty_addon_gets_the_defaults_that_our_reader_assumes(plane):
    """A tenant control plane with an empty addon gets the port, images and mode that our reader assumes."""
    made = tenant("defaults")
    made["spec"]["addons"]["konnectivity"] = {}
    plane.admin.ok("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(made).encode())
    addon = plane.admin.there(TENANTS, "tcp", "defaults")["spec"]["addons"]["konnectivity"]
    assert addon == {
        "server": {"image": "registry.k8s.io/kas-network-proxy/proxy-server", "port": 8132},
        "agent": {
            "image": "registry.k8s.io/kas-network-proxy/proxy-agent",
            "hostNetwork": False,
            "mode": "DaemonSet",
            "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        },
    }


def test_every_field_reaches_kamajis_objects(plane):
    plane.patch_addon(server=SERVER, agent=AGENT)
    server = plane.server(lambda found: found["image"] == "registry.example/k/server:v1")
    assert {"--agent-port=9132", "--keepalive-time=30s", "-v=3", "--proxy-strategies=destHost,default"} <= set(
        server["args"]
    )
    assert "--mode=grpc" in server["args"], "additional arguments of the server cannot replace Kamaji's"
    assert server["resources"] == SERVER["resources"]
    assert server["securityContext"] == SERVER["securityContext"]
    agents = plane.workload("deployment", lambda found: "--proxy-server-port=9132" in args(found, "agent"))
    assert agents["spec"]["replicas"] == 2
    pod = agents["spec"]["template"]["spec"]
    assert (pod["hostNetwork"], pod["tolerations"]) == (True, [{"operator": "Exists"}])
    assert {"-v=2", "--keepalive-time=30s", "--agent-identifiers=default-route=true"} <= set(args(agents, "agent"))
    assert plane.tenant.get(SYSTEM, "daemonset", "konnectivity-agent") is None
    record("fields-tenantcontrolplane", plane.object())
    record("fields-deployment", plane.deployment())
    record("fields-agents", agents)
    record("fields-agent-pod", plane.admitted_agent())
    plane.replace_servers()
    for node in range(len(plane.nodes)):
        plane.start_agent(node=node)
    plane.works()


def test_our_patch_keeps_every_field_that_it_does_not_name(plane):
    before = plane.addon()
    plane.patch(konnectivity("manifests", "kamaji-patch"))
    after = plane.addon()
    for part in ("server", "agent"):
        for addon in (before, after):
            addon[part] = {key: value for key, value in addon[part].items() if key not in ("image", "version")}
    assert after == before
    assert after["server"]["port"] == 9132
    assert after["agent"]["replicas"] == 2


@pytest.mark.parametrize("flag", ["-v=3", "--v=3"])
def test_an_additional_flag_replaces_the_verbosity_in_kamajis_spelling_only(plane, flag):
    """An additional flag replaces Kamaji's only in Kamaji's spelling, as the page says."""
    plane.patch_addon(agent={"extraArgs": [flag]})
    agents = plane.workload("deployment", lambda found: flag in args(found, "agent"))
    given = [each for each in args(agents, "agent") if each.lstrip("-").startswith("v=")]
    assert given == ([flag] if flag == "-v=3" else [flag, "-v=8"])
    plane.start_agent()
    plane.works()


def test_the_addon_is_switched_off_and_on_again(plane):
    plane.patch_addon()
    off = plane.deployment(lambda found: len(found["spec"]["template"]["spec"]["containers"]) == 3)
    assert not any("egress" in each for each in container(off["spec"]["template"]["spec"], "kube-apiserver")["args"])
    with pytest.raises(AssertionError, match="secret tenants/fields-konnectivity-kubeconfig not found"):
        plane.pod("off", off["spec"]["template"]["spec"], TENANTS, plane.admin, plane.places[0])
    refused = plane.admin.error(
        *("-n", TENANTS, "patch", "tcp", "fields", "--type=merge", "-p", konnectivity("manifests", "kamaji-patch"))
    )
    assert "spec.addons.konnectivity.server.port: Required value" in refused
    plane.patch(konnectivity("manifests", "kamaji-patch", "--port", "8132"))
    plane.server(lambda found: "--agent-port=8132" in found["args"])
    names = [each["name"] for each in plane.deployment()["spec"]["template"]["spec"]["volumes"]]
    assert names.count("konnectivity-server-kubeconfig") == 1
    plane.roll()
    plane.workload("daemonset", lambda found: "--proxy-server-port=8132" in args(found, "agent"))
    plane.start_agent("daemonset")
    plane.works()


def test_kamaji_adds_the_port_to_a_node_port_service(plane, management):
    """The entry in the Service equals that of `konnectivity manifests service`, and its port is a node port."""
    made = tenant("node-port", server={"port": 30132})
    made["spec"]["controlPlane"]["service"]["serviceType"] = "NodePort"
    made["spec"]["networkProfile"] = {"address": "203.0.113.200", "port": 31443}
    management.client.ok("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(made).encode())

    def entry():
        found = management.client.get(TENANTS, "service", "node-port") or {"spec": {"ports": []}}
        return next((each for each in found["spec"]["ports"] if each["name"] == "konnectivity-server"), None)

    theirs = until(entry, "Kamaji adds the port to the Service")
    text = yaml.safe_dump(management.client.there(TENANTS, "tcp", "node-port")).encode()
    ours = yaml.safe_load(konnectivity("manifests", "service", "--from-tenantcontrolplane", "-", stdin=text))
    assert ours["spec"]["ports"] == [theirs]


def test_a_tenant_control_plane_can_be_deleted(management):
    """Kamaji's finalizers end although the tenant cluster cannot be reached."""
    management.client.ok("-n", TENANTS, "delete", "tcp", "node-port", "--timeout=60s")
    assert management.client.get(TENANTS, "tcp", "node-port") is None
