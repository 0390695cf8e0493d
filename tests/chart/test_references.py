"""Tests that objects of the chart fit each other: names of pods, ports, volumes and labels are those of the release."""

from __future__ import annotations

import pytest

from support import helm_chart
from support.chart_values import AGENT_DEPLOYMENT, BOTH, SERVERS
from support.helm_chart import at, merged

MONITORS = {each: {"enabled": True} for each in ("podMonitor", "serviceMonitor")}
WITH_ALL = merged(BOTH, at("networkPolicy.enabled", True), at("monitoring", MONITORS))
MOVED = {
    "agent": {"extraArgs": {"--health-server-port": 9001}},
    "server": {"extraArgs": {"--health-port": 9002, "--agent-port": 9003, "--server-port": 9004}},
}


@pytest.fixture(
    params=[
        WITH_ALL,
        merged(WITH_ALL, AGENT_DEPLOYMENT),
        merged(WITH_ALL, at("server.kind", "DaemonSet")),
        merged(WITH_ALL, MOVED),
    ],
    ids=["Deployment", "agents in a Deployment", "DaemonSet", "other ports"],
)
def objects(request):
    return helm_chart.render(request.param)


def pods(objects):
    """Return the pods' templates of all workloads by their label."""
    found = [each["spec"]["template"] for each in objects if each["kind"] in ("DaemonSet", "Deployment")]
    return {each["metadata"]["labels"]["k8s-app"]: each["spec"] for each in found}


def ports(pod):
    """Return the numbers of a pod's ports by their names."""
    return {each["name"]: each["containerPort"] for each in pod["containers"][0]["ports"]}


def test_services_lead_to_ports_of_their_pods(objects):
    services = [each for each in objects if each["kind"] == "Service"]
    assert services
    for each in services:
        found = ports(pods(objects)[each["spec"]["selector"]["k8s-app"]])
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= set(found.values())


def test_monitors_scrape_the_health_ports(objects):
    monitors = [each for each in objects if each["kind"] == "PodMonitor"]
    assert [each["metadata"]["name"] for each in monitors] == ["konnectivity-agent"]
    for each in monitors:
        (endpoint,) = each["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports(pods(objects)[each["spec"]["selector"]["matchLabels"]["k8s-app"]])
    for each in objects:
        if each["kind"] == "ServiceMonitor":
            wanted = each["spec"]["selector"]["matchLabels"].items()
            (service,) = [
                found
                for found in objects
                if found["kind"] == "Service"
                and wanted <= found["metadata"]["labels"].items()
                and each["spec"]["endpoints"][0]["port"] in [port["name"] for port in found["spec"]["ports"]]
            ]
            assert service["metadata"]["name"] == "konnectivity-server-frontend"


def test_policies_and_budgets_select_pods_and_allow_only_their_ports(objects):
    found = [each for each in objects if each["kind"] in ("NetworkPolicy", "PodDisruptionBudget")]
    assert found
    for each in found:
        selector = each["spec"].get("podSelector", each["spec"].get("selector"))
        pod = pods(objects)[selector["matchLabels"]["k8s-app"]]
        allowed = {port["port"] for rule in each["spec"].get("ingress", []) for port in rule["ports"]}
        assert allowed <= set(ports(pod).values())


def test_every_mount_has_a_volume_and_every_volume_a_mount(objects):
    for pod in [*pods(objects).values(), *(each["spec"] for each in objects if each["kind"] == "Pod")]:
        mounts = {each["name"] for each in pod["containers"][0].get("volumeMounts", [])}
        assert mounts == {each["name"] for each in pod.get("volumes", [])}


def test_a_server_is_scraped_once_and_only_where_its_health_port_can_be_reached():
    def scraped(values):
        made = helm_chart.render(merged(values, at("monitoring.podMonitor.enabled", True)))
        return [each["metadata"]["name"] for each in made if each["kind"] in ("PodMonitor", "ServiceMonitor")]

    assert scraped(SERVERS["Deployment"]) == ["konnectivity-server"]
    assert scraped(merged(SERVERS["Deployment"], at("monitoring.serviceMonitor.enabled", True))) == [
        "konnectivity-server"
    ]
    assert scraped(SERVERS["DaemonSet"]) == []
    open_port = at("server.extraArgs", {"--health-bind-address": ""})
    assert scraped(merged(SERVERS["DaemonSet"], open_port)) == ["konnectivity-server"]
