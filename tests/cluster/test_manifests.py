"""Tests of all output of `konnectivity manifests` by a real kube-apiserver: fields, values, admission, CRDs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.host import Host
from support.shell import blocks
from support.waiting import until

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
AGENT = ("--server", "203.0.113.7", "--toleration", "*", "--limits", "memory=64Mi")
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
TENANT = {
    "apiVersion": "kamaji.clastix.io/v1alpha1",
    "kind": "TenantControlPlane",
    "metadata": {"name": "tenant-1", "namespace": "tenants"},
    "spec": {
        "controlPlane": {"deployment": {"replicas": 2}, "service": {"serviceType": "LoadBalancer"}},
        "kubernetes": {"version": "v1.33.1", "kubelet": {"cgroupfs": "systemd"}},
        "networkProfile": {"address": "203.0.113.7", "port": 6443},
    },
}


@pytest.fixture(scope="module")
def cluster(make_cluster, tmp_path_factory):
    """Yield a running kube-apiserver and etcd, with a namespace under the most restrictive pod security standard."""
    made = make_cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start_etcd()
        made.start_apiserver()
        until(made.ready, "kube-apiserver is ready")
        made.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenants"}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": RESTRICTED}},
        )
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def gateway_api(cluster):
    """Install the Gateway API's own CRDs, with all versions of TLSRoute."""
    found = subprocess.run(["sh", str(HERE / "gateway_crds.sh")], capture_output=True, timeout=100)
    if found.returncode:
        pytest.skip(f"missing: Go, or the Gateway API's module: {found.stderr.decode()}")
    file = Path(found.stdout.decode().strip()) / "experimental" / "gateway.networking.k8s.io_tlsroutes.yaml"
    establish(cluster, file, "tlsroutes.gateway.networking.k8s.io")


@pytest.fixture(scope="module")
def kamaji(cluster):
    """Install Kamaji's own CRD."""
    found = subprocess.run(["sh", str(HERE / "kamaji_crds.sh")], capture_output=True, text=True, timeout=100)
    if found.returncode:
        pytest.skip(f"missing: Kamaji's sources: {found.stderr.strip()}")
    establish(cluster, Path(found.stdout.strip()), "tenantcontrolplanes.kamaji.clastix.io")


def establish(cluster, file, name):
    cluster.ok("apply", "--server-side", "-f", str(file))
    cluster.ok("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")


def printed(*argv, stdin=b""):
    """Return the output of `konnectivity manifests`."""
    command = [sys.executable, "-m", "konnectivity.tool.cli", "manifests", *argv]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=30).stdout


def judged(cluster, text):
    """Apply the manifests in a dry run; return the objects by kind. Unknown fields are errors."""
    out = cluster.ok("apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", stdin=text)
    found = json.loads(out)
    return {each["kind"]: each for each in (found["items"] if found["kind"] == "List" else [found])}


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("mode", [("DaemonSet",), ("Deployment", "--replicas", "3")], ids=["DaemonSet", "Deployment"])
@pytest.mark.parametrize("network", [(), ("--host-network",)], ids=["pods", "host"])
def test_agents(cluster, mode, network, form):
    found = judged(cluster, printed("agent", *AGENT, "--mode", *mode, *network, "-o", form))
    assert found[mode[0]]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert ("PodDisruptionBudget" in found) == (mode[0] == "Deployment")


def test_everything_with_leases_goes_in_one_go_into_an_empty_cluster(cluster):
    """A dry run cannot check a namespace together with its objects, so the manifests are really applied."""
    cluster.ok("apply", "--validate=strict", "-f", "-", stdin=printed("all", *AGENT, "--leases"))
    server, agent = "system:konnectivity-server", "system:serviceaccount:kube-system:konnectivity-agent"
    assert can(cluster, server, "create", "tokenreviews.authentication.k8s.io")
    for verb in ("get", "list", "watch", "create", "update", "delete"):
        assert can(cluster, server, verb, "leases.coordination.k8s.io", "konnectivity")
        assert not can(cluster, server, verb, "leases.coordination.k8s.io", "kube-system")
        may = verb in ("list", "watch")
        assert can(cluster, agent, verb, "leases.coordination.k8s.io", "konnectivity") == may
    assert not can(cluster, server, "get", "secrets", "kube-system")
    cluster.ok("delete", "--ignore-not-found", "-f", "-", stdin=printed("removal", "--leases"))
    assert b"No resources found" in cluster.run("-n", "kube-system", "get", "daemonset").stderr
    assert b"konnectivity" not in cluster.ok("get", "clusterrole,clusterrolebinding")


def can(cluster, user, verb, resource, namespace="default"):
    """Return whether the API server's authorizer allows the request."""
    return cluster.run("auth", "can-i", verb, resource, "-n", namespace, "--as", user).returncode == 0


def test_rights(cluster):
    found = judged(cluster, printed("rbac", "--leases", "default", "--agent-identity-token", "--probe-node-events"))
    assert set(found) == {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.mark.parametrize(
    "options", [("--type", "ClusterIP"), ("--type", "headless"), ("--type", "NodePort", "--node-port", "30132")]
)
def test_services(cluster, options):
    assert judged(cluster, printed("service", *options))["Service"]["spec"]["ports"][0]["port"] == 8132


def test_the_static_pod(cluster):
    """The API server accepts the mirror pod of a kubelet, which has no service account."""
    assert judged(cluster, printed("server", "--leases"))["Pod"]["spec"]["priority"] > 0


def pods(text):
    """Yield the pods of the manifests, without their priority class, which only some namespaces allow."""
    for each in yaml.safe_load_all(text):
        if each["kind"] in ("DaemonSet", "Deployment"):
            spec = {**each["spec"]["template"]["spec"], "priorityClassName": ""}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "it", "namespace": "restricted"},
                "spec": spec,
            }


def test_agents_are_pods_of_the_most_restricted_kind(cluster):
    (pod,) = pods(printed("agent", *AGENT))
    assert "Pod" in judged(cluster, yaml.safe_dump(pod).encode())
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = cluster.error("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod).encode())
    assert "violates PodSecurity" in refused


@pytest.mark.parametrize("scaled", [(), ("--max-replicas", "9", "--tunnels", "2000")], ids=["fixed", "scaled"])
def test_a_gateway_is_of_the_most_restricted_kind(cluster, scaled):
    text = printed("gateway", "--namespace", "tenants", "--allow-from", "192.0.2.0/24", *scaled)
    found = judged(cluster, text)
    assert ("HorizontalPodAutoscaler" in found) == bool(scaled)
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount"} <= set(found)
    (pod,) = pods(text)
    pod["spec"]["serviceAccountName"] = "default"
    assert "Pod" in judged(cluster, yaml.safe_dump(pod).encode())


def test_tenants_share_a_secret_and_each_changes_its_own_files_alone(cluster, tmp_path):
    """The Secret is applied by the commands of the page, with a field manager for each tenant."""
    for name in ("a", "b"):
        cluster.konnectivity("pki", f"--directory={tmp_path / name}", "--only=client")
    kubeconfig, ca = cluster.path("server.kubeconfig"), cluster.path("ca.crt")

    def apply(name, *more):
        text = printed("tenant", name, *more, "--namespace", "tenants", "--shards", "1")
        manager = f"--field-manager=konnectivity-{name}"
        cluster.ok("apply", "--server-side", "--validate=strict", manager, "-f", "-", stdin=text)
        return stored(cluster, "secret", "konnectivity-tenants-0")

    def add(name):
        files = ("--pki", str(tmp_path / name), "--kubeconfig", str(kubeconfig), "--gateway-ca", str(ca))
        return apply(name, "--domain", "gateway.example", *files)

    add("a")
    one = len(json.dumps(stored(cluster, "secret", "konnectivity-tenants-0")["data"]))
    both = add("b")
    assert len(both["data"]) == 6
    assert one < 12 * 1024  # of the 1 MiB of a Secret
    left = apply("a", "--part", "removal")
    assert left["data"] == {name: text for name, text in both["data"].items() if name.startswith("b.")}
    assert stored(cluster, "secret", "a-konnectivity-gateway")["type"] == "kubernetes.io/tls"
    cluster.ok("-n", "tenants", "delete", "secret", "--all")


def test_agents_of_a_gateway_run_beside_others(cluster):
    ca = str(cluster.path("ca.crt"))
    text = printed("tenant", "a", "--part", "agents", "--domain", "gateway.example", "--gateway-ca", ca)
    assert judged(cluster, text)["DaemonSet"]["metadata"]["name"] == "konnectivity-gateway-agent"


def test_a_tenant_control_plane_is_moved_to_a_gateway_and_back(cluster, admin):
    """Kamaji's CRD accepts all three patches, and the last one undoes the others."""
    cluster.apply(tenant_with(server={"port": 9132}))
    admin.paste("kubectl -n tenants get tcp tenant-1 -o yaml > tenant-1.yaml")
    patch = "konnectivity manifests tenant tenant-1 --part %s --from-tenantcontrolplane tenant-1.yaml > patch.yaml"
    use = "kubectl -n tenants patch tcp tenant-1 --type merge --patch-file patch.yaml"
    assert "patched" in admin.paste(f"{patch % 'kamaji-patch'}\n{use}")
    spec = stored(cluster, "tcp", "tenant-1")["spec"]
    assert "konnectivity" not in spec["addons"]
    deployment = spec["controlPlane"]["deployment"]
    (argument,), (volume,) = deployment["extraArgs"]["apiServer"], deployment["additionalVolumes"]
    assert volume["secret"]["secretName"] == "tenant-1-konnectivity-gateway"
    mounts = deployment["additionalVolumeMounts"]["apiServer"]
    assert argument.partition("=")[2] in [each["mountPath"] for each in mounts]
    assert "patched" in admin.paste(f"{patch % 'kamaji-both'}\n{use}")
    assert stored(cluster, "tcp", "tenant-1")["spec"]["addons"]["konnectivity"]["server"]["port"] == 9132
    assert "patched" in admin.paste(f"{patch % 'kamaji-back'}\n{use}")
    spec = stored(cluster, "tcp", "tenant-1")["spec"]
    assert spec["addons"]["konnectivity"]["server"]["port"] == 9132
    assert not spec["controlPlane"]["deployment"]["extraArgs"]["apiServer"]


def deployment(arguments):
    """Return the Deployment of a control plane that is hosted in a cluster."""
    container = {"name": "kube-apiserver", "image": "kube-apiserver", "args": arguments}
    pki = {"name": "etc-kubernetes-pki", "emptyDir": {}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container], "volumes": [pki]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    head = {"name": "tenant-1", "namespace": "tenants"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec}


@pytest.mark.parametrize("from_tenant", [False, True], ids=["plain", "Kamaji"])
def test_the_server_in_a_deployment(cluster, tmp_path, from_tenant):
    path, tenant = tmp_path / "deployment.yaml", tmp_path / "tenant.yaml"
    path.write_text(yaml.safe_dump(deployment(["--secure-port=6443"])))
    tenant.write_text(yaml.safe_dump({**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": {}}}}))
    source = ("--from-tenantcontrolplane", str(tenant)) if from_tenant else ()
    spec = judged(cluster, printed("server", "--into", str(path), *source))["Deployment"]["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["containers"]] == ["kube-apiserver", "konnectivity-server"]


def test_the_strategic_merge_patch(cluster, tmp_path):
    """After the patch is merged, kube-apiserver keeps its own mounts and has the new ones."""
    path, tenant, patch = tmp_path / "deployment.yaml", tmp_path / "tenant.yaml", tmp_path / "patch.yaml"
    path.write_text(yaml.safe_dump(deployment(["--secure-port=6443"])))
    tenant.write_text(yaml.safe_dump({**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": {}}}}))
    patch.write_bytes(printed("server", "--from-tenantcontrolplane", str(tenant)))
    out = cluster.ok("patch", "--local", "-f", str(path), "--patch-file", str(patch), "-o", "yaml")
    spec = judged(cluster, out)["Deployment"]["spec"]["template"]["spec"]
    containers = {each["name"]: each for each in spec["containers"]}
    assert containers["kube-apiserver"]["args"] == ["--secure-port=6443"]
    assert [each["mountPath"] for each in containers["kube-apiserver"]["volumeMounts"]] == [
        "/run/konnectivity",
        "/etc/kubernetes/konnectivity/configurations",
    ]


@pytest.mark.parametrize("version", ["v1", "v1alpha3", "v1alpha2"])
def test_routes(cluster, gateway_api, version):
    options = ("--hostname", "k.example.com", "--gateway", "infra/gw", "--api", version)
    assert judged(cluster, printed("tlsroute", *options))["TLSRoute"]["spec"]["hostnames"] == ["k.example.com"]


@pytest.fixture
def admin(cluster, kamaji, tmp_path, programs):
    """Yield a shell with the kubeconfig of the admin cluster; the tenant's cluster is the same cluster."""
    host = Host(tmp_path / "host", cluster.namespaces.control, programs / "kube")
    config = str(cluster.path("admin.kubeconfig"))
    try:
        with host.shell() as shell:
            shell.paste(f"export KUBECONFIG={config}; cp {config} tenant-1.kubeconfig")
            yield shell
    finally:
        host.stop()
        cluster.ok("-n", "tenants", "delete", "--ignore-not-found", "tcp,deployment,service,secret", "tenant-1")


def test_the_kamaji_quickstart(cluster, admin):
    """The commands of docs/start/quickstart-kamaji.md work as pasted; the test stands for Kamaji."""
    run, several, see, off, _, clean, *_ = blocks(DOCS / "start/quickstart-kamaji.md")
    cluster.apply(tenant_with(server={"port": 9132}))
    assert "patched" in admin.paste(run)
    found = addon(cluster)
    assert (found["agent"]["image"], found["agent"]["mode"]) == (
        "registry.example.com/konnectivity/proxy-agent",
        "DaemonSet",
    )
    assert found["agent"]["tolerations"] == [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    assert "patched" in admin.paste(several)
    admin.paste(run)  # paste again, as after an upgrade; the choices are kept
    found = addon(cluster)
    assert (found["agent"]["mode"], found["agent"]["replicas"], found["server"]["port"]) == ("Deployment", 3, 9132)
    documents = [each for each in yaml.safe_load_all(admin.paste(see)) if each]
    assert [each["kind"] for each in documents][-2:] == ["PodDisruptionBudget", "Deployment"]
    in_tenant = [each for each in documents if each["metadata"].get("namespace") != "tenants"]
    cluster.ok("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(in_tenant).encode())
    assert "patched" in admin.paste(off)
    admin.paste("kubectl -n tenants get tcp tenant-1 -o yaml > tenant-1.yaml")
    gone = admin.paste(clean)
    for name in ("deployment.apps", "poddisruptionbudget.policy", "serviceaccount"):
        assert f'{name} "konnectivity-agent" deleted' in gone


def test_back_to_an_agent_on_every_node(cluster, admin):
    cluster.apply(tenant_with(agent={"mode": "Deployment", "replicas": 3}))
    patch = 'kubectl -n tenants patch tcp tenant-1 --type merge -p "$(konnectivity manifests kamaji-patch %s)"'
    assert "patched" in admin.paste(patch % "--mode DaemonSet")
    assert "replicas" not in addon(cluster)["agent"]


def test_the_addon_is_switched_on_by_the_patch(cluster, admin):
    """The patch sets the port, which the CRD requires, where the addon was off."""
    cluster.apply(TENANT)
    admin.paste("kubectl -n tenants get tcp tenant-1 -o yaml > tenant-1.yaml")
    patch = 'kubectl -n tenants patch tcp tenant-1 --type merge -p "$(konnectivity manifests kamaji-patch %s)"'
    assert "patched" in admin.paste(patch % "--from-tenantcontrolplane tenant-1.yaml")
    assert addon(cluster)["server"]["port"] == 8132


def test_kamaji_accepts_the_example_of_the_page(cluster, kamaji):
    (example,) = re.findall(
        r"^```yaml\n(.*?)^```$", (DOCS / "start/quickstart-kamaji.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert "TenantControlPlane" in judged(cluster, example.encode())


def test_without_the_kamaji_addon(cluster, admin, tmp_path):
    """The commands of docs/start/quickstart-kamaji.md work with the addon switched off; the test stands for Kamaji.

    Kamaji then deletes the ConfigMap and the Secret of the server, and leaves the Secret's volume in the Deployment.
    """
    *_, off, volume, _, config, server, agents = blocks(DOCS / "start/quickstart-kamaji.md")
    cluster.apply(tenant_with(), tenants_ca(cluster), tenants_service(), tenants_deployment_when_off())
    admin.paste(off)
    admin.paste(volume)
    before = volumes(cluster)
    assert "konnectivity-server-kubeconfig" not in before
    admin.paste(config)
    admin.paste(server)
    added = volumes(cluster) - before
    assert added == {"konnectivity-uds", "egress-selector-configuration", "konnectivity-server-kubeconfig"}
    spec = stored(cluster, "deployment", "tenant-1")["spec"]["template"]["spec"]
    for each in spec["volumes"]:  # each added volume's object exists and has the mounted file
        if each["name"] not in added:
            continue
        if "configMap" in each:
            assert (
                "egress-selector-configuration.yaml" in stored(cluster, "configmap", each["configMap"]["name"])["data"]
            )
        if "secret" in each:
            data = stored(cluster, "secret", each["secret"]["secretName"])["data"]
            kubeconfig = tmp_path / "konnectivity-server.conf"
            kubeconfig.write_bytes(base64.b64decode(data["konnectivity-server.conf"]))
    # the test's API server has an address and no name
    who = admin.paste(f"kubectl --kubeconfig {kubeconfig} --tls-server-name 127.0.0.1 auth whoami -o json")
    user = json.loads(who)["status"]["userInfo"]
    assert user["username"] == "system:konnectivity-server"
    assert "system:masters" not in user["groups"]
    ports = stored(cluster, "service", "tenant-1")["spec"]["ports"]
    assert {each["name"]: each["port"] for each in ports} == {"kube-apiserver": 6443, "konnectivity-server": 8132}
    assert "daemonset.apps/konnectivity-agent created" in admin.paste(agents)
    assert can(cluster, "system:konnectivity-server", "create", "tokenreviews.authentication.k8s.io")


def tenant_with(**addon):
    """Return TENANT with the addon on."""
    return {**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": addon}}}


def tenants_ca(cluster):
    data = {name: base64.b64encode(cluster.path(name).read_bytes()).decode() for name in ("ca.crt", "ca.key")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tenant-1-ca", "namespace": "tenants"},
        "data": data,
    }


def tenants_service():
    head = {"name": "tenant-1", "namespace": "tenants"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": head,
        "spec": {"ports": [{"name": "kube-apiserver", "port": 6443}]},
    }


def tenants_deployment_when_off():
    """Return the Deployment that real Kamaji left when the addon was off: no server, and a deleted Secret's volume."""
    return yaml.safe_load((HERE.parent / "kamaji" / "recorded" / "deployment-when-off.yaml").read_text())


def stored(cluster, kind, name):
    return json.loads(cluster.ok("-n", "tenants", "get", kind, name, "-o", "json"))


def volumes(cluster):
    spec = stored(cluster, "deployment", "tenant-1")["spec"]["template"]["spec"]
    return {each["name"] for each in spec["volumes"]}


def addon(cluster):
    found = json.loads(cluster.ok("-n", "tenants", "get", "tcp", "tenant-1", "-o", "json"))
    return found["spec"]["addons"]["konnectivity"]


@pytest.mark.parametrize(
    ("mode", "replicas"), [("DaemonSet", 2), ("Deployment", 0), ("DaemonSet", 0), ("Deployment", 2)]
)
def test_our_rule_for_replicas_is_the_crds(cluster, kamaji, tmp_path, mode, replicas):
    konnectivity = {"agent": {"mode": mode, "replicas": replicas}}
    text = yaml.safe_dump({**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": konnectivity}}}).encode()
    theirs = cluster.run("apply", "--dry-run=server", "-f", "-", stdin=text).returncode
    command = [sys.executable, "-m", "konnectivity.tool.cli", "manifests", "all", "--from-tenantcontrolplane", "-"]
    ours = subprocess.run(command, input=text, capture_output=True, timeout=30).returncode
    assert theirs == ours
