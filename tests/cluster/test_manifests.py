"""Everything that `konnectivity manifests` prints, judged by a real kube-apiserver: fields, values, admission, CRDs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from konnectivity.testing.host import Host
from konnectivity.testing.shell import blocks

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
    "spec": {"kubernetes": {"version": "v1.33.1"}, "networkProfile": {"address": "203.0.113.7", "port": 6443}},
}


@pytest.fixture(scope="module")
def cluster(make_cluster, tmp_path_factory):
    """kube-apiserver and etcd, with a namespace in which pods may do as little as the standards know."""
    made = make_cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start_etcd()
        made.start_apiserver()
        made.wait_until(lambda: made.kubectl("get", "--raw", "/readyz").returncode == 0)
        made.wait_until(lambda: made.kubectl("get", "namespace", "default", "kube-system").returncode == 0)
        made.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenants"}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": RESTRICTED}},
        )
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def gateway_api(cluster):
    """The Gateway API's own CRDs, with all versions of TLSRoute."""
    found = subprocess.run(["sh", str(HERE / "gateway_crds.sh")], capture_output=True, timeout=100)
    if found.returncode:
        pytest.skip(f"missing: Go, or the Gateway API's module: {found.stderr.decode()}")
    file = Path(found.stdout.decode().strip()) / "experimental" / "gateway.networking.k8s.io_tlsroutes.yaml"
    establish(cluster, file, "tlsroutes.gateway.networking.k8s.io")


@pytest.fixture(scope="module")
def kamaji(cluster):
    establish(cluster, HERE / "tenantcontrolplanes.yaml", "tenantcontrolplanes.kamaji.clastix.io")


def establish(cluster, file, name):
    cluster.ok("apply", "--server-side", "-f", str(file))
    cluster.ok("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")


def printed(*argv, stdin=b""):
    """As in a pipe."""
    command = [sys.executable, "-m", "konnectivity.cli", "manifests", *argv]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=30).stdout


def judged(cluster, text):
    """What the API server would store, by kind. Unknown fields are errors."""
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
    """Really, as a namespace and what is in it cannot be tried together."""
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
    assert b"No resources found" in cluster.kubectl("-n", "kube-system", "get", "daemonset").stderr
    assert b"konnectivity" not in cluster.ok("get", "clusterrole,clusterrolebinding")


def can(cluster, user, verb, resource, namespace="default"):
    """By the authorizer's word."""
    return cluster.kubectl("auth", "can-i", verb, resource, "-n", namespace, "--as", user).returncode == 0


def test_rights(cluster):
    found = judged(cluster, printed("rbac", "--leases", "default", "--agent-identity-token"))
    assert set(found) == {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@pytest.mark.parametrize(
    "options", [("--type", "ClusterIP"), ("--type", "headless"), ("--type", "NodePort", "--node-port", "30132")]
)
def test_services(cluster, options):
    assert judged(cluster, printed("service", *options))["Service"]["spec"]["ports"][0]["port"] == 8132


def test_the_static_pod(cluster):
    """A pod without a service account, as a kubelet mirrors it."""
    assert judged(cluster, printed("server", "--leases"))["Pod"]["spec"]["priority"] > 0


def pods(text):
    """The pods of what was printed, without a priority that only some namespaces may give."""
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


def deployment(arguments):
    """A control plane that somebody hosts in a cluster."""
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
    """Is merged: what kube-apiserver has stays, and gets its mounts."""
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


def test_the_kamaji_quickstart(cluster, kamaji, tmp_path, programs):
    """docs/quickstart-kamaji.md, pasted; admin's and tenant's cluster are one here, and the test stands for Kamaji."""
    run, several, see, off, clean = blocks(DOCS / "quickstart-kamaji.md")
    cluster.apply({**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": {}}}})
    host = Host(tmp_path / "host", cluster.namespaces.control, programs / "kube")
    config = str(cluster.path("admin.kubeconfig"))
    try:
        with host.shell() as shell:
            shell.paste(f"export KUBECONFIG={config}; cp {config} tenant-1.kubeconfig")
            assert "patched" in shell.paste(run)
            agent = addon(cluster)["agent"]
            assert (agent["image"], agent["mode"]) == ("konnectivity/proxy-agent", "DaemonSet")
            assert agent["tolerations"] == [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
            assert "patched" in shell.paste(several)
            assert addon(cluster)["agent"]["replicas"] == 3
            shell.paste(run)
            assert "replicas" not in addon(cluster)["agent"]
            shell.paste(several)
            documents = [each for each in yaml.safe_load_all(shell.paste(see)) if each]
            assert [each["kind"] for each in documents][-2:] == ["PodDisruptionBudget", "Deployment"]
            in_tenant = [each for each in documents if each["metadata"].get("namespace") != "tenants"]
            cluster.ok("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(in_tenant).encode())
            assert "patched" in shell.paste(off)
            gone = shell.paste(clean)
    finally:
        host.stop()
    for name in ("deployment.apps", "poddisruptionbudget.policy", "serviceaccount"):
        assert f'{name} "konnectivity-agent" deleted' in gone


def addon(cluster):
    found = json.loads(cluster.ok("-n", "tenants", "get", "tcp", "tenant-1", "-o", "json"))
    return found["spec"]["addons"]["konnectivity"]


@pytest.mark.parametrize(
    ("mode", "replicas"), [("DaemonSet", 2), ("Deployment", 0), ("DaemonSet", 0), ("Deployment", 2)]
)
def test_our_rule_for_replicas_is_the_crds(cluster, kamaji, tmp_path, mode, replicas):
    konnectivity = {"agent": {"mode": mode, "replicas": replicas}}
    text = yaml.safe_dump({**TENANT, "spec": {**TENANT["spec"], "addons": {"konnectivity": konnectivity}}}).encode()
    theirs = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text).returncode
    command = [sys.executable, "-m", "konnectivity.cli", "manifests", "all", "--from-tenantcontrolplane", "-"]
    ours = subprocess.run(command, input=text, capture_output=True, timeout=30).returncode
    assert theirs == ours
