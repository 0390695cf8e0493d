"""Tests of the Helm chart by a real kube-apiserver: fields, values, security standards, a release from start to end."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support import helm_chart
from support.chart_values import (
    AGENT_DEPLOYMENT,
    AGENTS,
    BESIDE,
    BOTH,
    CA,
    COUNTING,
    GATEWAY,
    IN_PODS,
    ON_NODES,
    OWN_ACCOUNT,
    SCALED,
    SWITCHES,
)
from support.helm_chart import CHART, at, merged
from support.host import Host
from support.shell import blocks
from support.waiting import until

HERE = Path(__file__).parent
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
MONITORING_KINDS = ("podmonitors", "servicemonitors", "prometheusrules")
FRONTEND = "konnectivity-server-frontend.kube-system.svc"
WORKLOADS = ("DaemonSet", "Deployment", "Pod")


@pytest.fixture(scope="module")
def cluster(make_cluster, tmp_path_factory):
    """Yield a running kube-apiserver and etcd with the CRDs of the Prometheus Operator."""
    helm_chart.helm_or_skip()
    crds = subprocess.run(["sh", str(HERE / "monitoring_crds.sh")], capture_output=True, text=True, timeout=100)
    if crds.returncode:
        pytest.skip(f"missing: Go, or the Prometheus Operator's module: {crds.stderr}")
    made = make_cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start_etcd()
        made.start_apiserver()
        until(made.ready, "kube-apiserver is ready")
        made.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "konnectivity"}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": RESTRICTED}},
        )
        files = [f"{crds.stdout.strip()}/monitoring.coreos.com_{kind}.yaml" for kind in MONITORING_KINDS]
        made.ok("apply", "--server-side", *(f"--filename={each}" for each in files))
        names = [f"crd/{kind}.monitoring.coreos.com" for kind in MONITORING_KINDS]
        made.ok("wait", "--for=condition=Established", *names, "--timeout=30s")
        yield made
    finally:
        made.stop()


def judged(cluster, *objects):
    """Apply objects in a dry run; unknown fields are errors."""
    text = yaml.safe_dump_all(objects).encode()
    return cluster.ok("apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-", stdin=text)


def test_every_object_of_every_value_is_valid(cluster):
    """Every value of the chart is switched once; equal objects are judged once."""
    renders = [helm_chart.render(merged(around, at(path, value))) for path, (around, value) in SWITCHES.items()]
    renders += [helm_chart.render(each) for each in (AGENTS, ON_NODES, IN_PODS, BESIDE, BOTH, SCALED)]
    objects = {json.dumps(each, sort_keys=True): each for made in renders for each in made}
    assert len(objects) > 100
    assert judged(cluster, *objects.values()).count(b"\n") == len(objects)


def test_a_mistake_would_be_found(cluster):
    (workload,) = [each for each in helm_chart.render(AGENTS) if each["kind"] == "DaemonSet"]
    workload["spec"]["template"]["spec"]["hostNetwrk"] = True
    text = yaml.safe_dump(workload).encode()
    refused = cluster.error("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "hostNetwrk" in refused


def pods(values):
    """Return the pods of the chart, without their priority class, which only some namespaces allow."""
    made = []
    for each in helm_chart.render(values, namespace="restricted"):
        if each["kind"] in WORKLOADS:
            spec = each["spec"].get("template", each)["spec"]
            head = {"name": f"pod-{len(made)}", "namespace": "restricted"}
            made.append(
                {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {**spec, "priorityClassName": ""}}
            )
    return made


@pytest.mark.parametrize(
    "values",
    [BOTH, AGENT_DEPLOYMENT, COUNTING, OWN_ACCOUNT, merged(AGENTS, at("agent.ca", CA)), merged(BOTH, GATEWAY)],
    ids=["agents and servers", "agents in a Deployment", "leases", "service account", "CA", "gateway"],
)
def test_pods_meet_the_most_restricted_standard(cluster, values):
    made = pods(values)
    assert len(made) >= 2
    judged(cluster, *made)


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        (merged(AGENTS, at("agent.hostNetwork", True)), {"host namespaces", "hostPort"}),
        (ON_NODES, {"host namespaces", "hostPort", "probe or lifecycle host", "restricted volume types"}),
    ],
    ids=["agents", "servers"],
)
def test_only_network_and_directories_of_the_host_keep_pods_from_it(cluster, values, reasons):
    (pod, *_) = pods(merged(values, at("test.enabled", False)))
    refused = cluster.error("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod).encode())
    found = refused.partition('violates PodSecurity "restricted:latest": ')[2]
    assert set(re.findall(r"(?:^|, )([A-Za-z ]+?) \(", found)) == reasons, found


def test_the_patch_of_the_sidecar_fits_a_kube_apiserver(cluster, tmp_path):
    """After the patch is merged, kube-apiserver keeps its own mounts and has the new ones."""
    objects = {each["metadata"]["name"]: each for each in helm_chart.render(BESIDE)}
    patch, deployment = tmp_path / "patch.yaml", tmp_path / "deployment.yaml"
    patch.write_text(objects["konnectivity-server-sidecar"]["data"]["patch.yaml"])
    mount = {"name": "pki", "mountPath": "/etc/kubernetes/pki"}
    apiserver = {"name": "kube-apiserver", "image": "kube-apiserver", "args": ["--a"], "volumeMounts": [mount]}
    spec = {"containers": [apiserver], "volumes": [{"name": "pki", "emptyDir": {}}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    head = {"name": "tenant", "namespace": "default"}
    made = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployment.write_text(
        yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": made})
    )
    out = cluster.ok("patch", "--local", "-f", str(deployment), "--patch-file", str(patch), "-o", "yaml")
    merged_spec = yaml.safe_load(out)["spec"]["template"]["spec"]
    judged(cluster, yaml.safe_load(out))
    containers = {each["name"]: each for each in merged_spec["containers"]}
    assert containers["kube-apiserver"]["args"] == ["--a"]
    assert len(containers["kube-apiserver"]["volumeMounts"]) == 3
    assert "konnectivity-server" in containers


def files(cluster, volume):
    """Return the files that a kubelet makes of a volume."""
    get = ("-n", "kube-system", "get", "-o", "json")
    if "secret" in volume:
        data = json.loads(cluster.ok(*get, "secret", volume["secret"]["secretName"]))["data"]
        return {name: base64.b64decode(content) for name, content in data.items()}
    if "configMap" in volume:
        data = json.loads(cluster.ok(*get, "configmap", volume["configMap"]["name"]))["data"]
        return {name: content.encode() for name, content in data.items()}
    (source,) = volume["projected"]["sources"]
    token = source["serviceAccountToken"]
    return {token["path"]: cluster.token(audience=token["audience"]).encode()}


def start(cluster, host, kind, name, ready):
    """Start the container of a workload with the files that a kubelet mounts into it."""
    found = json.loads(cluster.ok("-n", "kube-system", "get", kind, name, "-o", "json"))
    spec = found["spec"]["template"]["spec"]
    places = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    for volume in spec["volumes"]:
        for file, content in files(cluster, volume).items():
            host.write(f"{places[volume['name']]}/{file}", content)
    host.start_container(spec, name, ready)


@pytest.fixture
def hosts(cluster, programs, tmp_path):
    """Yield the host of the server and the host of the agent."""
    made = []
    try:
        for side in ("control", "node"):
            made.append(Host(tmp_path / side, getattr(cluster.namespaces, side), programs / "kube"))
        yield made
    finally:
        for host in made:
            host.stop()


def test_a_deployment_carries_requests_as_the_readme_installs_it(cluster, hosts):
    """The pasted commands make the Secrets and both releases; the test stands for kubelet and kube-apiserver."""
    control, node = hosts
    control.program("helm", f'HELM_CACHE_HOME=$PWD/helm HELM_CONFIG_HOME=$PWD/helm exec {helm_chart.HELM} "$@"')
    control.run("sh", "-c", f"echo 127.0.0.1 {FRONTEND} >> /etc/hosts")
    node.run("sh", "-c", "echo 192.0.2.1 konnectivity.example.com >> /etc/hosts")
    secrets, releases = blocks(CHART / "README.md")
    with control.shell() as shell:
        shell.paste(f"export KUBECONFIG={cluster.path('admin.kubeconfig')} CHART={CHART}")
        shell.paste(f"cp {cluster.path('ca.crt')} {cluster.path('ca.key')} .")
        shell.paste("SERVER=konnectivity.example.com API=https://127.0.0.1:6443")
        shell.paste(secrets)
        shell.paste(releases)
        start(cluster, control, "deployment", "konnectivity-server", "Proxy server started")
        start(cluster, node, "daemonset", "konnectivity-agent", "Connected to server")
        target = f"http://{cluster.node_ip}:8093/readyz"
        client = "--ca-cert pki/frontend-ca.crt --cert pki/client.crt --key pki/client.key"
        assert shell.paste(f"konnectivity curl {target} --server {FRONTEND}:8090 {client}").strip() == "ok"
        (pod,) = yaml.safe_load_all(shell.paste("helm -n kube-system get hooks konnectivity-server"))
        command = [*pod["spec"]["containers"][0]["command"], *pod["spec"]["containers"][0]["args"]]
        assert control.run(sys.executable, *command[1:]).strip() == "ok"
        shell.paste("helm -n kube-system uninstall konnectivity-server konnectivity-agent")


def everything(cluster):
    """Return the names of all objects except events."""
    kinds = cluster.ok("api-resources", "--verbs=list", "-o", "name").decode().split()
    kinds = [each for each in kinds if not each.startswith("events")]
    return set(cluster.ok("get", ",".join(kinds), "--all-namespaces", "-o", "name").decode().split())


def helm(cluster, *arguments, values=None):
    within = ("ip", "netns", "exec", cluster.namespaces.control)
    config = f"--kubeconfig={cluster.path('admin.kubeconfig')}"
    done = helm_chart.run(*arguments, config, "--namespace=kube-system", values=values, within=within)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_release_is_installed_upgraded_and_leaves_nothing(cluster):
    before = everything(cluster)
    values = merged(AGENTS, at("leases.enabled", True), at("leases.createNamespace", False), at("server.enabled", True))
    notes = helm(cluster, "install", "konnectivity", str(CHART), values=values)
    assert "rollout status daemonset/konnectivity-agent" in notes
    installed = everything(cluster) - before
    assert {"daemonset.apps/konnectivity-agent", "daemonset.apps/konnectivity-server"} <= installed
    assert "role.rbac.authorization.k8s.io/konnectivity-server-leases" in installed
    watched = at(
        "monitoring", {each: {"enabled": True} for each in ("podMonitor", "serviceMonitor", "rules", "dashboard")}
    )
    helm(cluster, "upgrade", "konnectivity", str(CHART), values=merged(BOTH, AGENT_DEPLOYMENT, watched))
    upgraded = everything(cluster) - before
    assert {"deployment.apps/konnectivity-agent", "deployment.apps/konnectivity-server"} <= upgraded
    assert not {each for each in upgraded if each.startswith("daemonset") or "leases" in each}
    assert sum("monitoring.coreos.com/" in each for each in upgraded) == 3
    helm(cluster, "uninstall", "konnectivity")
    assert everything(cluster) - before == set()
