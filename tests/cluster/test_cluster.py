"""Tests with a real kube-apiserver, etcd and kubectl: requests to the cluster's nodes pass through server and agent.

The API server dials by its egress selector and authenticates agents by TokenReview; the RBAC objects are those of
docs/operate/kubernetes.md.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
MIB = 1 << 20
TRANSPORTS = ("grpc-uds", "connect-uds", "connect-tls")
SERVICE = {"namespace": "default", "name": "node", "port": 443}


def documented_rbac():
    """Return the roles and bindings in docs/operate/kubernetes.md."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "operate" / "kubernetes.md").read_text(), re.DOTALL)
    objects = [each for block in blocks for each in yaml.safe_load_all(block)]
    return [each for each in objects if each.get("apiVersion", "").startswith("rbac")]


def node_objects(node_ip):
    """Return a node whose kubelet only an agent can reach, a pod on it, and a service with the same address."""
    yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}}
    container = {"name": "it", "image": "none"}
    yield {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "default"},
        "spec": {"nodeName": "node", "containers": [container], "tolerations": [{"operator": "Exists"}]},
    }
    ports = [{"name": "https", "port": 443, "targetPort": 10250}]
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "node", "namespace": "default"},
        "spec": {"ports": ports},
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "node", "namespace": "default", "labels": {"kubernetes.io/service-name": "node"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 10250, "protocol": "TCP"}],
        "endpoints": [{"addresses": [node_ip], "conditions": {"ready": True}}],
    }
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "konnectivity-agent", "namespace": "kube-system"},
    }


def extensions(ca):
    """Return an aggregated API and a webhook, both on the node."""
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.tunnel.test"},
        "spec": {
            "group": "tunnel.test",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": SERVICE,
            "caBundle": ca,
        },
    }
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "node"},
        "webhooks": [
            {
                "name": "node.tunnel.test",
                "clientConfig": {"service": {**SERVICE, "path": "/validate"}, "caBundle": ca},
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def egress_selector(cluster, transport):
    """Return the configuration with which an API server uses one of the server's frontends."""
    path = cluster.path("egress.yaml")
    way = [
        "--mode=grpc" if transport == "grpc-uds" else "--mode=http-connect",
        f"--uds={cluster.path('frontend.sock')}",
    ]
    if transport == "connect-tls":
        files = {"ca-cert": "frontend-ca.crt", "client-cert": "client.crt", "client-key": "client.key"}
        way = [f"--{flag}={cluster.path('pki') / file}" for flag, file in files.items()]
        way.append("--url=https://127.0.0.1:8131")
    cluster.konnectivity("egress-config", *way, f"--file={path}")
    return path


@pytest.fixture(scope="module", params=TRANSPORTS)
def cluster(request, make_cluster, tmp_path_factory):
    made = make_cluster(tmp_path_factory.mktemp(request.param))
    egress = egress_selector(made, request.param)
    try:
        made.start_etcd()
        made.start_apiserver(egress)
        made.wait_until(lambda: made.kubectl("get", "--raw", "/readyz").returncode == 0)
        made.wait_until(lambda: made.kubectl("get", "namespace", "default", "kube-system").returncode == 0)
        made.apply(*documented_rbac(), *node_objects(made.node_ip))
        made.say_running()
        made.start_node()
        made.start_server(request.param)
        made.agent = made.start_agent(made.token())
        made.apply(*extensions(base64.b64encode(made.path("ca.crt").read_bytes()).decode()))
        yield made
    finally:
        made.stop()


def test_logs(cluster):
    assert cluster.ok("logs", "pod").count(b"\n") == 10


def test_a_followed_log_flows(cluster):
    with subprocess.Popen(cluster.kubectl_command("logs", "-f", "pod"), stdout=subprocess.PIPE) as kubectl:
        assert kubectl.stdout is not None
        lines = [kubectl.stdout.readline() for _ in range(20)]
        kubectl.terminate()
    assert lines[19] == b"line 19 of pod\n"


@pytest.mark.parametrize("websockets", ["true", "false"], ids=["websocket", "spdy"])
def test_exec(cluster, websockets):
    sent = os.urandom(MIB)
    way = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    assert cluster.ok("exec", "-i", "pod", "--", "cat", stdin=sent, **way) == sent
    assert cluster.ok("exec", "pod", "--", "uname", "-a", **way) == b"ran [uname -a]\n"


def test_attach(cluster):
    assert b"typed" in cluster.ok("attach", "-i", "pod", stdin=b"typed\n")


ECHO = """
import os, socket, sys, threading
sent = os.urandom(1 << 20)
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=peer.sendall, args=(sent,), daemon=True).start()
got = b""
while len(got) < len(sent):
    got += peer.recv(65536) or sys.exit(f"it ended after {len(got)} bytes")
print(got == sent)
"""


def test_port_forward(cluster):
    command = cluster.kubectl_command("port-forward", "pod/pod", ":80")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kubectl:
        assert kubectl.stdout is not None
        port = re.search(r":(\d+) ->", kubectl.stdout.readline())
        assert port
        within = ["ip", "netns", "exec", cluster.namespaces.control]
        echo = subprocess.run(
            [*within, sys.executable, "-c", ECHO, port[1]], capture_output=True, text=True, timeout=50
        )
        kubectl.terminate()
    assert echo.stdout == "True\n", echo.stderr


def test_an_aggregated_api(cluster):
    cluster.wait_until(lambda: cluster.kubectl("get", "--raw", "/apis/tunnel.test/v1/hello").returncode == 0)
    assert cluster.ok("get", "--raw", "/apis/tunnel.test/v1/hello") == b"hello to admin"
    assert b"True" in cluster.ok("get", "apiservice", "v1.tunnel.test")


def test_a_validating_webhook(cluster):
    def config_map(name, forbidden):
        labels = {"forbidden": forbidden}
        return json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
        ).encode()

    cluster.ok("create", "-f", "-", stdin=config_map("good", "false"))
    assert "the webhook on the node says no" in cluster.error("create", "-f", "-", stdin=config_map("bad", "true"))
    cluster.ok("delete", "configmap", "good")


def test_a_token_for_somebody_else_is_refused(cluster):
    stranger = cluster.start_agent(cluster.token("somebody-else"), ready="the token is not valid")
    stranger.stop()
    cluster.processes.remove(stranger)
    assert cluster.ok("logs", "pod")


def test_the_servers_user_may_do_what_it_needs_and_no_more(cluster):
    """The user of `konnectivity kubeconfig` may create token reviews and nothing else."""

    def as_server(*arguments):
        command = cluster.kubectl_command(*arguments, user="server")
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    who = json.loads(as_server("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert who["username"] == "system:konnectivity-server"
    assert who["groups"] == ["system:authenticated"]
    assert as_server("auth", "can-i", "create", "tokenreviews").stdout == "yes\n"
    for refused in (("get", "secrets"), ("create", "pods"), ("*", "*")):
        assert as_server("auth", "can-i", *refused).stdout == "no\n"


def test_the_server_has_its_lease(cluster):
    cluster.wait_until(lambda: b"konnectivity-proxy-server" in cluster.ok("-n", "kube-system", "get", "leases"))


def test_the_api_server_counted_its_dials_through_the_tunnel(cluster, request):
    text = cluster.ok("get", "--raw", "/metrics").decode()
    dials = re.findall(r"^apiserver_egress_dialer_dial_start_total\{(.*?)\} (\d+)", text, re.MULTILINE)
    transport = "tcp" if "connect-tls" in request.node.name else "uds"
    assert any(f'transport="{transport}"' in labels and int(number) > 5 for labels, number in dials), dials


def test_without_an_agent_nothing_gets_there_and_with_one_again_everything(cluster):
    cluster.agent.stop()
    started = time.monotonic()
    assert "error" in cluster.error("logs", "pod").lower()
    assert "error" in cluster.error("exec", "pod", "--", "true").lower()
    assert "webhook" in cluster.error("create", "configmap", "unseen")
    assert cluster.error("get", "--raw", "/apis/tunnel.test/v1/hello")
    assert time.monotonic() - started < 30
    cluster.agent = cluster.start_agent(cluster.token())
    cluster.wait_until(lambda: cluster.kubectl("logs", "pod").returncode == 0)
    cluster.ok("create", "configmap", "seen")
    cluster.ok("delete", "configmap", "seen")
