"""Tests of the chart's values: each has an effect, a type and a default, and a mistake is refused in plain words."""

from __future__ import annotations

import json
import re
from functools import cache

import kubernetes_validate
import pytest
import yaml

from konnectivity.tool.cli.manifests_command import container_arguments
from konnectivity.tool.manifests.object_names import ManifestError
from support import helm_chart
from support.chart_values import (
    AGENT_DEPLOYMENT,
    AGENTS,
    BESIDE,
    BOTH,
    GATEWAY,
    IN_PODS,
    SCALED,
    SWITCHES,
    defaults,
    entries,
    monitored,
)
from support.helm_chart import CHART, at, merged

OLDEST_KUBERNETES = "1.28"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.mark.parametrize("values", [{}, AGENTS, BOTH, BESIDE], ids=["defaults", "agents", "both", "sidecar"])
def test_lint_finds_nothing(values):
    done = helm_chart.run("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@cache
def check_fields(text):
    """Check an object by the schema of the oldest release of Kubernetes, once for equal objects."""
    made = json.loads(text)
    if not made["apiVersion"].startswith("monitoring.coreos.com/"):
        kubernetes_validate.validate(made, OLDEST_KUBERNETES, strict=True)


@pytest.mark.parametrize("path", SWITCHES)
def test_every_value_changes_what_is_rendered(path):
    around, value = SWITCHES[path]
    default = defaults()
    for key in path.split("."):
        default = default[key]
    assert value != default
    found = helm_chart.render(merged(around, at(path, value)))
    assert found != helm_chart.render(around)
    container_arguments.check(found)  # the programs accept their arguments
    for each in found:
        check_fields(json.dumps(each, sort_keys=True))


def test_arguments_that_a_program_refuses_would_be_found():
    values = merged(AGENTS, at("agent.extraArgs", {"--no-such-flag": "1"}))
    with pytest.raises(ManifestError, match="no-such-flag"):
        container_arguments.check(helm_chart.render(values))


def test_every_value_is_switched():
    assert sorted(entries(defaults())) == sorted(SWITCHES)


def allowed(schema, path=""):
    """Yield the path of each value that the schema allows, except the one of all charts, `global`."""
    for key, inner in schema["properties"].items():
        if "$ref" in inner:
            inner = SCHEMA["definitions"][inner["$ref"].rpartition("/")[2]]
        place = f"{path}{key}"
        if "properties" in inner and place not in SWITCHES:
            assert inner["additionalProperties"] is False, place
            yield from allowed(inner, f"{place}.")
        elif place != "global":
            yield place


def test_the_schema_has_the_values_and_no_others():
    assert sorted(allowed(SCHEMA)) == sorted(SWITCHES)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("agents", {}, "additional properties 'agents' not allowed"),
        ("agent.server", "192.0.2.1", "'/agent': additional properties 'server' not allowed"),
        ("agent.kind", "StatefulSet", "'/agent/kind': value must be one of 'DaemonSet', 'Deployment'"),
        ("agent.servers", "192.0.2.1", "'/agent/servers': got string, want array"),
        ("agent.servers", ["a,b"], "'/agent/servers/0': 'a,b' does not match pattern"),
        ("agent.port", 65536, "'/agent/port': maximum: got 65,536, want 65,535"),
        ("agent.replicas", 0, "'/agent/replicas': minimum: got 0, want 1"),
        ("agent.ca", "ca.crt", "'/agent/ca': 'ca.crt' does not match pattern"),
        ("agent.extraArgs", {"v": "2"}, "'/agent/extraArgs': additional properties 'v' not allowed"),
        ("agent.podAnnotations", {"a": 1}, "'/agent/podAnnotations/a': got number, want string"),
        ("agent.resources", {"limit": {}}, "'/agent/resources': additional properties 'limit' not allowed"),
        ("server.port", 80, "'/server/port': minimum: got 80, want 1,024"),
        ("server.mode", "quic", "'/server/mode': value must be one of"),
        ("server.sockets", "run", "'/server/sockets': 'run' does not match pattern"),
        ("server.count", 1025, "'/server/count': maximum: got 1,025, want 1,024"),
        ("image.pullSecrets", ["registry"], "'/image/pullSecrets/0': got string, want object"),
        ("leases.namespace", "Leases", "'/leases/namespace': 'Leases' does not match pattern"),
        ("monitoring.podMonitor.interval", "often", "'/monitoring/podMonitor/interval': 'often' does not match"),
    ],
)
def test_the_schema_names_the_value_and_what_is_wrong_with_it(path, value, text):
    done = helm_chart.template(merged(AGENTS, at(path, value)))
    assert done.returncode == 1
    assert text in done.stderr


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"agent": {"servers": ["a"]}},
            "image.repository is empty, and so is agent.image: this project has no registry",
        ),
        (merged(IN_PODS, at("image.repository", "")), "image.repository is empty, and so is server.image"),
        (at("image.repository", "registry.example.com/k"), "agent.servers is empty: name the servers"),
        (merged(AGENTS, at("agent.enabled", False)), "agent.enabled, server.enabled and gateway.enabled are false"),
        (merged(AGENTS, at("agent.replicas", 3)), "agent.replicas is 3: it is for agent.kind Deployment"),
        (merged(BESIDE, at("server.useServiceAccount", True)), "a Sidecar runs in the pod of kube-apiserver"),
        (merged(IN_PODS, at("service.nodePort", 30000)), "service.nodePort is 30000: it is for service.type NodePort"),
        (merged(GATEWAY, at("image.repository", "")), "so is server.image, which the gateway runs"),
        (merged(SCALED, at("gateway.replicas", 6)), "maxReplicas is 6: it must be above gateway.replicas, 6"),
        (merged(GATEWAY, at("gateway.service.nodePort", 30000)), "it is for gateway.service.type NodePort"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(values, text):
    done = helm_chart.template(values)
    assert done.returncode == 1
    assert text in done.stderr


def test_all_mistakes_are_named_at_once():
    done = helm_chart.template({})
    assert "image.repository is empty" in done.stderr
    assert "agent.servers is empty" in done.stderr


def test_no_image_is_in_a_registry_that_nobody_named():
    values = merged(BOTH, at("image.repository", "registry.example.com/path/"))
    images = re.findall(r"image: (\S+)", helm_chart.template(values).stdout)
    assert {each.rpartition(":")[0] for each in images} == {
        "registry.example.com/path/proxy-agent",
        "registry.example.com/path/proxy-server",
    }


def test_numbers_of_arguments_are_written_in_full():
    values = merged(AGENTS, at("agent.extraArgs", {"--max-health-connections": 2000000, "--enable-profiling": True}))
    (workload,) = [each for each in helm_chart.render(values) if each["kind"] == "DaemonSet"]
    arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--max-health-connections=2000000" in arguments
    assert "--enable-profiling=true" in arguments


def rules(values):
    (found,) = [each for each in helm_chart.render(values) if each["kind"] == "PrometheusRule"]
    return {rule.get("alert", rule.get("record")): rule for group in found["spec"]["groups"] for rule in group["rules"]}


def test_the_alerts_are_those_of_the_page_and_expect_the_agents_of_the_release():
    source = yaml.safe_load((CHART.parents[1] / "docs/operate/monitoring/rules.yaml").read_text())["groups"]
    assert list(rules(monitored("rules")).values()) == [rule for group in source for rule in group["rules"]]
    of_three = merged(monitored("rules"), AGENT_DEPLOYMENT, at("agent.replicas", 3))
    assert rules(of_three)["konnectivity:expected_agents"]["expr"] == "vector(3)"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (AGENTS, "konnectivity manifests server --port 8132 --namespace kube-system"),
        (AGENTS, "--image registry.example.com/konnectivity/proxy-server:"),
        (at("server.kind", "DaemonSet"), "--uds /etc/kubernetes/konnectivity-server/konnectivity-server.socket"),
        (at("server.kind", "Deployment"), "--url https://konnectivity-server-frontend.kube-system.svc:8090"),
        (at("server.kind", "Sidecar"), "patch deployment DEPLOYMENT --patch-file patch.yaml"),
    ],
)
def test_the_notes_name_the_next_command(values, text):
    if "server" in values:
        values = merged(AGENTS, values, at("server.enabled", True))
    arguments = ("install", "konnectivity", str(CHART), "--dry-run=client", "--namespace=kube-system")
    done = helm_chart.run(*arguments, values=values)
    assert done.returncode == 0, done.stderr
    assert text in done.stdout.partition("NOTES:")[2]
