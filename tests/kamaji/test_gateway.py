"""Tests of a tenant control plane behind a gateway: its routes, agents that use the host name, and a killed server."""

from __future__ import annotations

import signal

import pytest
import yaml
from pod_runner import container
from recorder import record
from tenant_objects import HOSTNAME, konnectivity
from tenant_plane import SERVER


@pytest.fixture(scope="module")
def plane(planes):
    return planes("gateway")


def reduced(route):
    """Return the parts of a route that the API server does not fill in."""
    spec = route["spec"]
    parents = [{key: each[key] for key in each if key not in ("group", "kind")} for each in spec["parentRefs"]]
    backends = [(each["name"], each["port"]) for rule in spec["rules"] for each in rule["backendRefs"]]
    return route["metadata"]["name"], parents, spec["hostnames"], backends


def test_our_route_equals_kamajis(plane):
    route = plane.route(f"{plane.name}-konnectivity")
    record("gateway-route", route)
    record("gateway-tenantcontrolplane", plane.object())
    text = yaml.safe_dump(plane.object()).encode()
    ours = yaml.safe_load(konnectivity("manifests", "tlsroute", "--from-tenantcontrolplane", "-", stdin=text))
    assert reduced(ours) == reduced(route)


def test_agents_connect_to_the_host_name(plane):
    agents = plane.workload("daemonset")
    record("gateway-agents", agents)
    record("gateway-agent-pod", plane.admitted_agent())
    spec = agents["spec"]["template"]["spec"]
    assert f"--proxy-server-host={HOSTNAME}" in container(spec, "konnectivity-agent")["args"]
    plane.start_agent()
    plane.works()


def test_a_server_that_is_killed_leaves_a_socket_and_starts_again(plane):
    plane.start_agent()
    plane.works()
    pod, server = plane.pods[-1], plane.servers[0]
    server.send(signal.SIGKILL)
    server.wait()
    assert (pod.volumes.paths["konnectivity-uds"] / "konnectivity-server.socket").exists()
    plane.servers[0] = pod.start(SERVER)
    plane.works()
