"""Tests that the metrics, labels and values in rules and dashboard exist in scrapes of programs under full use."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import yaml

from konnectivity.client import DialError, connect
from konnectivity.testing.deployment import Deployment, free_port
from support import targets
from support.kubernetes_api import KubernetesApi
from support.targets import listening

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "docs/operate/monitoring/rules.yaml").read_text())
DASHBOARD = json.loads((ROOT / "docs/operate/monitoring/dashboard.json").read_text())
EXPRESSIONS = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]
OTHERS = {"kube_node_info"}  # a metric of kube-state-metrics
AUDIENCE = "system:konnectivity-server"
USER = "system:serviceaccount:kube-system:konnectivity-agent"


def get(port, path="/metrics"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def until(port, text):
    end = time.monotonic() + 20
    while text not in (found := get(port)):
        assert time.monotonic() < end, f"no {text!r} in\n{found}"
        time.sleep(0.1)
    return found


def expired_lease():
    times = {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 2, "holderIdentity": "gone"}
    metadata = {"name": "konnectivity-proxy-server-gone", "labels": {"k8s-app": "konnectivity-server"}}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": times}


def start(deployment, api):
    """Start a server with all options on, an agent that is accepted and two agents that are refused."""
    server = deployment.start_server(
        f"--kubeconfig={api.kubeconfig(deployment.directory / 'kubeconfig')}",
        *("--agent-namespace=kube-system", "--agent-service-account=konnectivity-agent"),
        *(f"--authentication-audience={AUDIENCE}", "--agent-identity=certificate-san", "--enable-lease-controller"),
        *(f"--audit-log={deployment.path('audit')}", f"--peers=127.0.0.1:{free_port()}", f"--peer-port={free_port()}"),
        *(f"--peer-cert={deployment.path('server.crt')}", f"--peer-key={deployment.path('server.key')}"),
        *(f"--peer-ca-cert={deployment.path('ca.crt')}", "--proxy-strategies=destHost,default"),
        *("--probe=closed=127.0.0.1:1", "--tracing-endpoint=http://127.0.0.1:1"),
    )
    for token in ("good", "bad"):
        (deployment.directory / token).write_text(token)
    show = f"--service-account-token-path={deployment.path('good')}"
    leases = (f"--kubeconfig={deployment.path('kubeconfig')}", "--count-server-leases")
    agent = deployment.start_agent(show, *leases)
    for wrong in (
        (f"--service-account-token-path={deployment.path('bad')}",),
        (show, "--agent-identifiers=ipv4=10.1.2.3"),
    ):
        refused = deployment.start_package("konnectivity_agent", deployment.agent_arguments(*wrong))
        refused.wait_for("Cannot connect to the server")
    return server, agent


async def dial(deployment):
    async with listening(targets.echo) as echo:
        for mode in ("grpc", "http-connect"):
            async with connect(**deployment.frontend(mode, unix=True)) as tunnel:
                reader, writer = await tunnel.dial(echo)
                writer.write(b"hello")
                await reader.readexactly(5)
                writer.close()
                for wrong in ("127.0.0.1:1", "169.254.169.254:80"):
                    with pytest.raises(DialError):
                        await tunnel.dial(wrong)


def fail_a_handshake(port):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.recv(100)


def scrapes(deployment, api):
    api.objects.create("kube-system", expired_lease())
    server, agent = start(deployment, api)
    until(agent.health_port, "agent_lease_watches_total")
    asyncio.run(dial(deployment))
    get(deployment.health_port, f"/{'long' * 5000}")
    fail_a_handshake(deployment.agent_port)
    until(deployment.health_port, 'state="failing"')
    yield until(deployment.health_port, "server_lease_delete_total")
    agent.send(signal.SIGSTOP)
    server.send(signal.SIGKILL)
    server.wait()
    agent.send(signal.SIGCONT)
    yield until(agent.health_port, "agent_stream_errors_total")


def scrape_of_workers(deployment):
    server = deployment.start_package("konnectivity_server", deployment.server_arguments("--workers=2"))
    server.wait_for("Proxy server started", times=2)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    server.wait_for("starting it again")
    agent = deployment.start_agent()
    found = until(deployment.health_port, "worker_restarts_total 1\n")
    agent.send(signal.SIGKILL)  # the agent's streams end with an error
    return found + until(deployment.health_port, "stream_errors_total")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Return name of a family or of its samples -> label -> its values."""
    one, other = (Deployment(tmp_path_factory.mktemp(name)) for name in ("everything", "workers"))
    try:
        with KubernetesApi(one.directory / "api") as api:
            api.add_token("good", USER, AUDIENCE)
            text = "".join(scrapes(one, api)) + scrape_of_workers(other)
    finally:
        one.stop()
        other.stop()
    names = {}
    for name, labels in re.findall(r"^([a-z]\w+)(?:{(.*)})? \S+$", text, re.MULTILINE):
        known = names.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            known.setdefault(label, set()).add(value)
    return names


def selectors(expression):
    """Return each metric of an expression with its matchers."""
    names = r"\b((?:konnectivity_network_proxy|process|kube)_\w+)(?:{([^}]*)})?"
    return re.findall(names, expression)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_its_metrics_are_there(shown, expression):
    found = selectors(expression)
    assert found or "konnectivity:expected_agents" in expression
    for name, matchers in found:
        if name in OTHERS:
            continue
        assert name in shown
        for label in re.findall(r"(\w+)[=!]", matchers):
            assert label in shown[name] or label in ("job", "instance"), f"{name} has no label {label}"
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            allowed = {"job", "instance", *(label for each, _ in found for label in shown.get(each, {}))}
            assert {each.strip() for each in grouped.split(",")} <= allowed


def test_reasons_that_the_alerts_tell_apart(shown):
    """Every failure reason in an alert exists; a misspelt reason would silently match nothing."""
    from konnectivity.errors import DialFailure

    known = {each.value for each in DialFailure}
    used = {
        reason
        for expression in EXPRESSIONS
        for values in re.findall(r'dial_failure_count{reason=~?"([^"]*)"', expression)
        for reason in values.split("|")
    }
    assert used <= known
    assert len(used) > 4
    failures = shown["konnectivity_network_proxy_server_dial_failure_count"]["reason"]
    assert failures <= known
    assert shown["konnectivity_network_proxy_server_buffer_budget_bytes"]["scope"] >= {"process"}
    assert shown["konnectivity_network_proxy_server_peers"]["state"] >= {"other"}
    assert shown["konnectivity_network_proxy_server_ready_backends"]["proxy_strategy"] >= {"default"}
    assert "Proxy" in shown["konnectivity_network_proxy_server_grpc_connections"]["service_method"]
