"""Tests of two pods of a control plane behind a load balancer: agents reach both, and each part can be replaced."""

from __future__ import annotations

import signal

import pytest
from tenant_objects import konnectivity

from support.kubectl_command import read_line

DRAIN_TIMEOUT_S = 30  # terminationGracePeriodSeconds of Kamaji's pods


@pytest.fixture(scope="module")
def plane(planes):
    return planes("pair")


def test_the_server_count_is_the_number_of_replicas(plane):
    assert "--server-count=2" in plane.server()["args"]


def test_one_agent_behind_a_load_balancer_serves_both(plane):
    plane.start_agent()
    plane.works()


def test_a_server_ends_within_its_grace_period_while_a_log_is_followed(plane):
    plane.start_agent()
    plane.works()
    with plane.tenant.running(*plane.past_the_balancer(0), "logs", "--follow", "pod") as log:
        assert read_line(log)
        plane.servers[0].send(signal.SIGTERM)
        assert plane.servers[0].wait(DRAIN_TIMEOUT_S) == 0
        assert plane.direct(1, "logs", "pod").returncode == 0, "a log of the other pod fails"
    plane.replace_server(0)
    plane.works()


def test_an_agent_ends_within_its_grace_period_while_a_log_is_followed(plane):
    agent = plane.start_agent().processes["konnectivity-agent"]
    plane.works()
    with plane.tenant.running("logs", "--follow", "pod") as log:
        assert read_line(log)
        agent.send(signal.SIGTERM)
        assert agent.wait(DRAIN_TIMEOUT_S) == 0


def test_a_deployment_of_agents_survives_the_loss_of_one(plane):
    plane.patch(konnectivity("manifests", "kamaji-patch", "--mode", "Deployment", "--replicas", "2"))
    assert plane.workload("deployment")["spec"]["replicas"] == 2
    pods = [plane.start_agent("deployment", node) for node in range(2)]
    plane.works()
    pods[0].processes["konnectivity-agent"].send(signal.SIGKILL)
    plane.works()
    plane.patch(konnectivity("manifests", "kamaji-patch", "--mode", "DaemonSet"))
    plane.workload("daemonset")
