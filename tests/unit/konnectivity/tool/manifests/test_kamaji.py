"""Objects that Kamaji makes of a tenant control plane, as observed."""

from __future__ import annotations

import tomllib

import kubernetes_validate
import pytest
import yaml

from konnectivity.tool.manifests import gateway, kamaji, object_names, removal, tenant_control_plane
from konnectivity.tool.manifests.kamaji import Images
from konnectivity.tool.manifests.object_names import ManifestError
from support.checkout import DEPLOYERS

KNOWN = tomllib.loads(DEPLOYERS.read_text())["kamaji"]
THEIRS = Images(theirs=True)
GATEWAY = {"hostname": "t1.example.com", "parentRefs": [{"name": "gw", "namespace": "infra", "port": 6443}]}


def tcp(agent=None, server=None, version="v1.33.1", **control_plane):
    konnectivity = {"agent": agent or {}} | ({"server": {"port": 8132, **server}} if server is not None else {})
    return tenant_control_plane.parse(
        {
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": {"name": "t1", "namespace": "tenants"},
            "spec": {
                "kubernetes": {"version": version},
                "networkProfile": {"address": "203.0.113.7"},
                "controlPlane": control_plane,
                "addons": {"konnectivity": konnectivity},
            },
        }
    )


DISABLED = tenant_control_plane.Tenant("t1", "tenants", "v1.33.1", 2, "203.0.113.7", "", None, None)


def workload(found, images=THEIRS):
    return next(each for each in kamaji.tenant_objects(found, images) if each["kind"] in ("DaemonSet", "Deployment"))


def pod(found, images=THEIRS):
    return workload(found, images)["spec"]["template"]["spec"]


def test_the_agents_arguments_are_kamajis():
    assert pod(tcp())["containers"][0]["args"] == KNOWN["agent"].split()


def test_the_servers_arguments_are_kamajis():
    assert kamaji.server_sidecar(tcp(), THEIRS).container["args"] == KNOWN["server"].split()


def test_agents_that_kamaji_takes_over_get_the_files_of_their_account():
    """Kamaji replaces volumes and mounts, and leaves a field that would keep the API server from mounting the files."""
    spec = pod(tcp())
    assert "automountServiceAccountToken" not in spec
    mounts = [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]]
    assert object_names.ACCOUNT_FILES in mounts, "a mount there keeps the API server from adding its token"


def test_the_agents_additional_arguments_replace_kamajis():
    args = pod(tcp(agent={"extraArgs": ["-v=2", "--proxy-server-port=443"]}))["containers"][0]["args"]
    assert {"-v=2", "--proxy-server-port=443"} <= set(args)
    assert len(args) == len(KNOWN["agent"].split())


def test_the_servers_do_not():
    args = kamaji.server_sidecar(tcp(server={"extraArgs": ["--mode=http-connect", "--v=2"]}), THEIRS).container["args"]
    assert args == sorted([*KNOWN["server"].split(), "--v=2"])


def test_count_and_port_of_the_server():
    args = kamaji.server_sidecar(tcp(server={"port": 30132}, deployment={"replicas": 3}), THEIRS).container["args"]
    assert {"--server-count=3", "--agent-port=30132"} <= set(args)
    assert "--proxy-server-port=30132" in pod(tcp(server={"port": 30132}))["containers"][0]["args"]


def test_mode_replicas_tolerations_network_resources():
    found = tcp(agent={"mode": "Deployment", "replicas": 3, "tolerations": [], "hostNetwork": True})
    assert workload(found)["kind"] == "Deployment"
    assert workload(found)["spec"]["replicas"] == 3
    assert "tolerations" not in pod(found)
    assert pod(found)["hostNetwork"] is True
    assert "imagePullPolicy" not in pod(found)["containers"][0]
    assert pod(tcp())["tolerations"] == [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    assert "replicas" not in workload(tcp(agent={"mode": "Deployment"}))["spec"]


def test_resources_and_security_of_the_server_are_taken_as_they_are():
    context, resources = {"capabilities": {"drop": ["ALL"]}}, {"limits": {"memory": "1Gi"}}
    container = kamaji.server_sidecar(
        tcp(server={"securityContext": context, "resources": resources}), THEIRS
    ).container
    assert container["securityContext"] == context
    assert container["resources"] == resources


def images(found, chosen):
    return pod(found, chosen)["containers"][0]["image"], kamaji.server_sidecar(found, chosen).container["image"]


def test_in_the_place_of_kamajis_default_images_there_are_ours():
    assert images(tcp(), Images()) == (object_names.AGENT_IMAGE, object_names.SERVER_IMAGE)
    explicit = tcp(
        agent={"image": tenant_control_plane.AGENT_IMAGE}, server={"image": tenant_control_plane.SERVER_IMAGE}
    )
    assert images(explicit, Images()) == (object_names.AGENT_IMAGE, object_names.SERVER_IMAGE)


def test_other_images_stay_and_have_kamajis_tag():
    found = tcp(agent={"image": "r:5000/agent"}, server={"image": "r/server", "version": "0.1.0"})
    assert images(found, Images()) == ("r:5000/agent:v0.33.0", "r/server:0.1.0")


def test_kamajis_own_images():
    there = "registry.k8s.io/kas-network-proxy"
    assert images(tcp(), THEIRS) == (f"{there}/proxy-agent:v0.33.0", f"{there}/proxy-server:v0.33.0")
    assert images(tcp(agent={"version": "v0.1.2"}), THEIRS)[0] == f"{there}/proxy-agent:v0.1.2"


def test_a_chosen_image_goes_before_all():
    assert images(tcp(agent={"image": "a"}), Images("s:1", "a:1")) == ("a:1", "s:1")


def test_a_version_of_kubernetes_that_gives_no_tag():
    with pytest.raises(ManifestError, match=r"spec.kubernetes.version: 'latest' gives no tag"):
        images(tcp(version="latest"), THEIRS)
    assert images(tcp(version="latest"), Images()) == (object_names.AGENT_IMAGE, object_names.SERVER_IMAGE)


def test_all_that_the_tenants_cluster_gets():
    kinds = [each["kind"] for each in kamaji.tenant_objects(tcp(agent={"mode": "Deployment"}), Images())]
    assert kinds == ["ClusterRoleBinding", "ServiceAccount", "Deployment", "PodDisruptionBudget"]
    for each in kamaji.tenant_objects(tcp(), Images()):
        kubernetes_validate.validate(each, "1.33", strict=True)


def test_the_service_has_the_port_and_on_nodes_the_same_port():
    entry = {"name": "konnectivity-server", "port": 8132, "targetPort": 8132, "protocol": "TCP"}
    assert kamaji.service_patch(tcp())["spec"]["ports"] == [entry]
    found = tcp(server={"port": 30132}, service={"serviceType": "NodePort"})
    assert kamaji.service_patch(found)["spec"]["ports"][0]["nodePort"] == 30132
    with pytest.raises(ManifestError, match="port 8132: node ports are 30000 to 32767"):
        kamaji.service_patch(tcp(service={"serviceType": "NodePort"}))


def test_the_route_has_the_gateways_parents_and_its_own_listener():
    route = kamaji.route(tcp(gateway=GATEWAY), gateway.VERSIONS[-1])
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1alpha2"
    assert route["metadata"] == {"name": "t1-konnectivity", "namespace": "tenants"}
    assert route["spec"] == {
        "parentRefs": [{"name": "gw", "namespace": "infra", "port": 8132, "sectionName": "konnectivity-server"}],
        "hostnames": ["t1.example.com"],
        "rules": [{"backendRefs": [{"name": "t1", "port": 8132}]}],
    }
    with pytest.raises(ManifestError, match="has no hostname"):
        kamaji.route(tcp(), "v1")


def test_with_a_gateway_agents_come_by_its_name():
    assert "--proxy-server-host=t1.example.com" in pod(tcp(gateway=GATEWAY))["containers"][0]["args"]


@pytest.mark.parametrize(
    "make",
    [
        lambda found: kamaji.tenant_objects(found, Images()),
        lambda found: kamaji.server_sidecar(found, Images()),
        kamaji.service_patch,
        lambda found: kamaji.route(found, "v1"),
    ],
)
def test_nothing_is_made_where_the_addon_is_disabled(make):
    with pytest.raises(ManifestError, match=r"the addon is off.*--without-addon.*manifests removal"):
        make(DISABLED)


def test_what_kamaji_leaves_in_the_tenants_cluster_is_to_be_removed():
    assert [(each["kind"], each["metadata"]["name"]) for each in removal.tenant_cluster()] == [
        ("DaemonSet", "konnectivity-agent"),
        ("Deployment", "konnectivity-agent"),
        ("PodDisruptionBudget", "konnectivity-agent"),
        ("ServiceAccount", "konnectivity-agent"),
        ("ClusterRoleBinding", "system:konnectivity-server"),
    ]


def test_what_was_made_is_what_is_to_be_removed():
    for mode in ("DaemonSet", "Deployment"):
        made = removal.heads(kamaji.tenant_objects(tcp(agent={"mode": mode}), Images()))
        assert [each for each in made if each not in removal.tenant_cluster()] == []


def test_in_the_admin_cluster_there_are_its_secrets():
    assert {each["metadata"]["name"] for each in removal.admin_cluster(DISABLED)} == {
        "t1-konnectivity-egress-selector-configuration",
        "t1-konnectivity-kubeconfig",
        "t1-konnectivity-certificate",
    }


def test_nobody_knows_where_agents_go():
    with pytest.raises(ManifestError, match="no address for agents"):
        kamaji.agent_settings(
            tenant_control_plane.Tenant("t", "n", "v1.33", 2, "", "", None, tenant_control_plane.Addon()), Images()
        )


def test_the_patch_is_an_addon_that_kamaji_takes():
    """Kamaji accepts the patch as an addon, and reading it returns our images."""
    patch = kamaji.addon_patch(
        agent_image="r:5000/x/agent:1", port=8132, mode="Deployment", replicas=2, host_network=True
    )
    assert list(patch["spec"]["addons"]["konnectivity"]) == ["server", "agent"]
    head = {
        "apiVersion": tenant_control_plane.API_VERSION,
        "kind": tenant_control_plane.KIND,
        "metadata": {"name": "t"},
    }
    addon = tenant_control_plane.parse({**head, **patch}).addon
    assert (addon.agent.image, addon.agent.version) == ("r:5000/x/agent", "1")
    assert (addon.agent.mode, addon.agent.replicas, addon.agent.host_network) == ("Deployment", 2, True)
    assert f"{addon.server.image}:{addon.server.version}" == object_names.SERVER_IMAGE


def patched(**options):
    return kamaji.addon_patch(**options)["spec"]["addons"]["konnectivity"]


def test_the_patch_changes_images_and_nothing_that_was_not_asked_for():
    """A chosen port, mode and number of replicas stay unchanged."""
    for part in patched().values():
        assert set(part) == {"image", "version"}
    assert set(patched(port=30132)["server"]) == {"image", "version", "port"}
    assert patched(replicas=3)["agent"]["replicas"] == 3
    assert "mode" not in patched(replicas=3)["agent"]
    assert patched(host_network=True)["agent"]["hostNetwork"] is True


def test_the_patch_takes_away_the_replicas_of_a_former_deployment():
    agent = patched(mode="DaemonSet")["agent"]
    assert agent["mode"] == "DaemonSet"
    assert agent["replicas"] is None
    assert "replicas" not in patched(mode="Deployment")["agent"]


def test_the_patch_of_a_tenant_has_the_port_only_where_the_addon_is_off():
    assert "port" not in patched(tenant=tcp(server={"port": 30132}))["server"]
    assert patched(tenant=DISABLED)["server"]["port"] == 8132
    assert patched(tenant=DISABLED, port=9132)["server"]["port"] == 9132


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"replicas": 2, "mode": "DaemonSet"}, "replicas are for mode Deployment"),
        ({"replicas": 2, "tenant": tcp()}, "replicas are for mode Deployment"),
        ({"replicas": 2, "tenant": DISABLED}, "replicas are for mode Deployment"),
        ({"replicas": 0}, "must be 1 or more"),
        ({"port": 443}, "the server listens on ports"),
    ],
)
def test_the_patch_keeps_to_kamajis_rules(options, why):
    with pytest.raises(ManifestError, match=why):
        kamaji.addon_patch(**options)


def test_the_servers_pod_finds_the_config_map_and_the_secret():
    """Every ConfigMap or Secret volume of the pod is one that `server_config` makes, with the mounted file."""
    found = tcp()
    config_map, secret = kamaji.server_config(found, "apiVersion: v1\n")
    volumes = {each["name"]: each for each in kamaji.server_sidecar(found, Images()).volumes}
    assert volumes["egress-selector-configuration"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert volumes["konnectivity-server-kubeconfig"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert secret["stringData"] == {"konnectivity-server.conf": "apiVersion: v1\n"}
    egress = yaml.safe_load(config_map["data"]["egress-selector-configuration.yaml"])
    (selection,) = egress["egressSelections"]
    assert selection["name"] == "cluster"
    uds = selection["connection"]["transport"]["uds"]["udsName"]
    assert f"--uds-name={uds}" in kamaji.server_sidecar(found, Images()).container["args"]
    assert selection["connection"]["proxyProtocol"] == "GRPC"


def test_the_patch_of_a_deployment_removes_the_volume_that_kamaji_leaves():
    patch = removal.deployment_patch(DISABLED)
    assert patch["metadata"] == {"name": "t1", "namespace": "tenants"}
    volumes = patch["spec"]["template"]["spec"]["volumes"]
    assert volumes == [{"name": "konnectivity-server-kubeconfig", "$patch": "delete"}]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("r/agent@sha256:" + "0" * 64, "a digest cannot be used"),
        ("r/agent", "has no tag"),
        ("r:5000/agent", "has no tag"),
    ],
)
def test_kamaji_needs_a_tag(image, why):
    with pytest.raises(ManifestError, match=why):
        kamaji.addon_patch(agent_image=image)
