"""Tests that the chart renders the objects of `konnectivity manifests`: the same fields, whatever the options."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from konnectivity.tool.cli.main import main
from support import helm_chart
from support.chart_values import AGENTS, BESIDE, CA, GATEWAY, IN_PODS, ON_NODES
from support.helm_chart import NAMESPACE, at, merged

REPOSITORY = "registry.example.com/konnectivity"
CHART_LABELS = ("helm.sh/", "app.kubernetes.io/")
APISERVER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "tenant", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "containers": [{"name": "kube-apiserver", "image": "kube-apiserver", "args": ["--secure-port=6443"]}]
            },
        },
    },
}


@pytest.fixture
def manifests(capsys):
    """Return a function: options of `konnectivity manifests` -> its objects."""

    def made(*options):
        with pytest.raises(SystemExit) as end:
            main(["manifests", *options, "-o", "json"])
        out, err = capsys.readouterr()
        assert end.value.code == 0, err
        found = json.loads(out)
        return found["items"] if found["kind"] == "List" else [found]

    return made


@pytest.fixture
def authority(tmp_path):
    """Return the file of a real CA certificate."""
    command = [sys.executable, "-m", "konnectivity.tool.cli", "pki", f"--directory={tmp_path}", "--only=server"]
    subprocess.run([*command, "--server-name=a"], check=True, capture_output=True, timeout=60)
    return tmp_path / "ca.crt"


def by_name(objects):
    """Return objects by kind and name, without the labels that only a chart has."""
    found = {}
    for each in objects:
        head = each["metadata"]
        labels = {key: value for key, value in head.get("labels", {}).items() if not key.startswith(CHART_LABELS)}
        head = {key: value for key, value in head.items() if key != "labels"}
        found[each["kind"], head["name"]] = {**each, "metadata": {**head, **({"labels": labels} if labels else {})}}
    return found


def rendered(values):
    return by_name(each for each in helm_chart.render(merged(values, at("test.enabled", False))))


AGENT_CASES = {
    "defaults": ([], {}),
    "several servers": (["--server", "a,b:9000", "--port", "8443"], {"servers": ["a", "b:9000"], "port": 8443}),
    "host network": (["--host-network"], {"hostNetwork": True}),
    "deployment": (["--mode", "Deployment", "--replicas", "3"], {"kind": "Deployment", "replicas": 3}),
    "deployment, host network": (
        ["--mode", "Deployment", "--host-network"],
        {"kind": "Deployment", "hostNetwork": True},
    ),
    "tolerations": (["--toleration", "*"], {"tolerations": [{"operator": "Exists"}]}),
    "resources": (
        ["--requests", "cpu=50m", "--limits", "memory=1Gi"],
        {"resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}},
    ),
    "arguments": (
        [
            "--extra-arg=--v=6",
            "--extra-arg=--sync-forever=true",
            "--extra-arg=--lease-label-selector=",
            "--extra-arg=--health-server-port=9000",
        ],
        {"extraArgs": {"--v": 6, "--sync-forever": True, "--lease-label-selector": "", "--health-server-port": 9000}},
    ),
}


@pytest.mark.parametrize("leases", [None, "konnectivity", "default"], ids=["no leases", "leases", "leases in default"])
@pytest.mark.parametrize("case", AGENT_CASES)
def test_agents_and_rights_are_those_of_manifests_all(manifests, case, leases):
    options, agent = AGENT_CASES[case]
    image = f"--image={REPOSITORY}/proxy-agent:1"
    given = [*options, *([] if leases is None else [f"--leases={leases}"])]
    server = [] if "--server" in options else ["--server=192.0.2.1"]
    values = merged(AGENTS, {"agent": agent}, at("image.tag", "1"))
    if leases:
        values = merged(values, {"leases": {"enabled": True, "namespace": leases}})
    assert rendered(values) == by_name(manifests("all", *given, *server, image))


@pytest.mark.parametrize("leases", [(), ("--leases",)], ids=["no leases", "leases"])
def test_a_ca_is_mounted_as_manifests_do(manifests, authority, leases):
    made = manifests("all", "--server=192.0.2.1", f"--ca={authority}", f"--image={REPOSITORY}/proxy-agent:1", *leases)
    values = merged(AGENTS, at("image.tag", "1"), at("agent.ca", authority.read_text()))
    assert rendered(merged(values, at("leases.enabled", bool(leases)))) == by_name(made)


def test_the_rights_for_identities_and_events_are_those_of_manifests_rbac(manifests):
    values = merged(AGENTS, at("rbac.agentIdentityToken", True), at("leases.enabled", True))
    values = merged(values, at("rbac.probeNodeEvents", True))
    wanted = by_name(manifests("rbac", "--leases", "--agent-identity-token", "--probe-node-events"))
    assert ("Role", "konnectivity-server-events") in wanted
    assert {key: each for key, each in rendered(values).items() if key in wanted} == wanted


def pod_of(objects, kind, name="konnectivity-server"):
    return objects[kind, name]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("options", "server"),
    [
        ([], {}),
        (["--leases"], {}),
        (["--count", "3", "--port", "9132", "--mode", "grpc"], {"count": 3, "port": 9132, "mode": "grpc"}),
        (["--files", "/etc/k", "--sockets", "/run/k"], {"files": "/etc/k", "sockets": "/run/k"}),
        (["--extra-arg=--health-port=9000"], {"extraArgs": {"--health-port": 9000}}),
        (["--namespace", "agents"], {"agentNamespace": "agents"}),
    ],
    ids=lambda part: " ".join(part) or "defaults" if isinstance(part, list) else "",
)
def test_servers_on_control_plane_nodes_are_the_static_pod(manifests, options, server):
    """Only what places a DaemonSet's pod is added."""
    (wanted,) = manifests("server", *options, f"--image={REPOSITORY}/proxy-server:1")
    leases = at("leases.enabled", "--leases" in options)
    pod = pod_of(rendered(merged(ON_NODES, {"server": server}, leases, at("image.tag", "1"))), "DaemonSet")
    added = {key: pod.pop(key) for key in sorted(pod.keys() - wanted["spec"].keys())}
    assert pod == wanted["spec"]
    assert added == {
        "automountServiceAccountToken": False,
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        "serviceAccountName": "konnectivity-server",
        "tolerations": [{"operator": "Exists"}],
    }


def beside(manifests, tmp_path, *options):
    """Return the pod of a kube-apiserver to which `konnectivity manifests` added the server."""
    path = tmp_path / "apiserver.yaml"
    path.write_text(yaml.safe_dump(APISERVER))
    (made,) = manifests("server", f"--into={path}", f"--image={REPOSITORY}/proxy-server:1", *options)
    return made["spec"]["template"]["spec"]


def in_order_of_names(entries):
    return sorted(entries, key=lambda each: each["name"])


@pytest.mark.parametrize(
    ("options", "server"),
    [
        ([], {}),
        (
            ["--tls-secret=a", "--kubeconfig-secret=b", "--egress-configmap=c", "--leases"],
            {"tlsSecret": "a", "kubeconfigSecret": "b", "egressConfigMap": "c"},
        ),
    ],
    ids=["defaults", "names"],
)
def test_the_sidecar_is_that_of_manifests_server_into(manifests, tmp_path, options, server):
    wanted = beside(manifests, tmp_path, *options)
    leases = at("leases.enabled", "--leases" in options)
    found = rendered(merged(BESIDE, {"server": server}, leases, at("image.tag", "1")))
    spec = yaml.safe_load(found["ConfigMap", "konnectivity-server-sidecar"]["data"]["patch.yaml"])["spec"]["template"][
        "spec"
    ]
    its, sidecar = wanted["containers"]
    made, apiserver = spec["containers"]
    made["volumeMounts"], sidecar["volumeMounts"] = map(
        in_order_of_names, (made["volumeMounts"], sidecar["volumeMounts"])
    )
    assert made == sidecar
    assert apiserver == {"name": "kube-apiserver", "volumeMounts": its["volumeMounts"]}
    assert in_order_of_names(spec["volumes"]) == in_order_of_names(wanted["volumes"])


def test_a_deployment_is_the_sidecar_with_a_tcp_frontend(manifests, tmp_path):
    """It lacks the unix socket and the egress configuration, and has a Secret, its flags and a port more."""
    directory = "/etc/konnectivity/frontend"
    flags = {
        "port": "8090",
        "cert": f"{directory}/tls.crt",
        "key": f"{directory}/tls.key",
        "ca-cert": f"{directory}/ca.crt",
    }
    options = [f"--extra-arg=--server-{name}={value}" for name, value in flags.items()]
    wanted = beside(manifests, tmp_path, *options, "--count=3")
    sidecar = wanted["containers"][1]
    pod = pod_of(rendered(merged(IN_PODS, at("server.replicas", 3), at("image.tag", "1"))), "Deployment")
    (made,) = pod["containers"]
    assert made.pop("args") == [each for each in sidecar.pop("args") if not each.startswith("--uds-name=")]
    assert made.pop("ports") == [*sidecar.pop("ports"), {"name": "frontend", "containerPort": 8090, "protocol": "TCP"}]
    assert made.pop("readinessProbe")["httpGet"] == made["livenessProbe"]["httpGet"]
    tls, kubeconfig, frontend = made.pop("volumeMounts")
    assert [tls, kubeconfig] == sidecar.pop("volumeMounts")[:2]
    assert frontend == {"name": "konnectivity-frontend", "mountPath": directory, "readOnly": True}
    assert made == sidecar
    (frontend,) = [each for each in pod["volumes"] if each not in wanted["volumes"]]
    assert frontend == {"name": "konnectivity-frontend", "secret": {"secretName": "konnectivity-frontend"}}
    assert len(pod["volumes"]) == 3


@pytest.mark.parametrize(
    ("options", "service"),
    [
        ([], {}),
        (["--type=headless"], {"type": "headless"}),
        (["--type=NodePort", "--node-port=30132"], {"type": "NodePort", "nodePort": 30132}),
        (["--type=LoadBalancer", "--port=9132"], {"type": "LoadBalancer"}),
    ],
)
def test_the_service_of_agents_is_that_of_manifests_service(manifests, options, service):
    port = 9132 if "--port=9132" in options else 8132
    found = rendered(merged(IN_PODS, {"service": service}, at("server.port", port)))
    wanted = by_name(manifests("service", *options))
    assert {key: each for key, each in found.items() if key in wanted} == wanted


@pytest.mark.parametrize(
    ("options", "gateway"),
    [
        ([], {}),
        (
            ["--type=headless", "--port=9132", "--shards=3"],
            {"service": {"type": "headless"}, "port": 9132, "shards": 3},
        ),
        (
            ["--no-peers", "--max-replicas=9"],
            {"peers": {"enabled": False}, "autoscaling": {"enabled": True, "maxReplicas": 9}},
        ),
        (["--type=NodePort", "--node-port=30132"], {"service": {"type": "NodePort", "nodePort": 30132}}),
        (
            ["--replicas=3", "--max-replicas=9", "--cpu-percent=50", "--tunnels=2000"],
            {
                "replicas": 3,
                "autoscaling": {"enabled": True, "maxReplicas": 9, "cpuPercent": 50, "tunnels": 2000},
            },
        ),
        (
            [
                "--tls-secret=its",
                "--peer-secret=others",
                "--admin-token-secret=tokens",
                "--limits=memory=2Gi",
                "--extra-arg=--v=2",
                "--extra-arg=--health-port=9000",
            ],
            {
                "tlsSecret": "its",
                "peers": {"secret": "others"},
                "adminTokenSecret": "tokens",
                "resources": {"limits": {"memory": "2Gi"}},
                "extraArgs": {"--v": 2, "--health-port": 9000},
            },
        ),
    ],
    ids=lambda part: " ".join(part) or "defaults" if isinstance(part, list) else "",
)
def test_the_gateway_is_that_of_manifests_gateway(manifests, options, gateway):
    wanted = manifests("gateway", *options, f"--image={REPOSITORY}/proxy-server:1", f"--namespace={NAMESPACE}")
    values = merged(GATEWAY, {"gateway": gateway}, at("image.tag", "1"), at("networkPolicy.enabled", True))
    assert rendered(values) == by_name(wanted)


def test_the_networks_of_a_gateway_s_clients_are_those_of_manifests_gateway(manifests):
    networks = ("192.0.2.0/24", "198.51.100.0/24")
    image = f"--image={REPOSITORY}/proxy-server:1"
    wanted = manifests("gateway", f"--allow-from={','.join(networks)}", image, f"--namespace={NAMESPACE}")
    peers = [[{"ipBlock": {"cidr": each}}] for each in networks]
    policy = {"enabled": True, "agentPeers": peers[0], "frontendPeers": peers[1]}
    assert rendered(merged(GATEWAY, {"networkPolicy": policy}, at("image.tag", "1"))) == by_name(wanted)


def test_a_ca_that_is_no_certificate_is_refused_by_both():
    assert helm_chart.template(merged(AGENTS, at("agent.ca", "PEM"))).returncode == 1
    assert helm_chart.template(merged(AGENTS, at("agent.ca", CA))).returncode == 0
