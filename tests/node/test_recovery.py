"""Tests of sessions that end, and of operations that succeed again, after a program, the line or a node has failed."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from os import kill

import pytest
from kubeadm_files import MANIFESTS
from real_cluster import AGENT

from support import cluster_programs
from support.kubectl_command import read_line
from support.waiting import until

CUT_S = 4.0
END_S = 60.0  # deadline for the end of a session whose tunnel is lost


@pytest.fixture(autouse=True)
def by_all_transports(cluster, record_property):
    """Record that each test of this file covers all transports: each waits until all of them serve again."""
    for transport in cluster.clients:
        record_property("transport", transport)


def processes(node, program):
    """Return the processes of the program, which must run."""
    found = node.processes(f"/{program}")
    assert found, f"no {program} runs on {node.name}"
    return found


@contextmanager
def sessions(cluster):
    """Yield an exec and a followed log by each transport, all with their first output."""
    with ExitStack() as stack:
        found = []
        for k in cluster.clients.values():
            for words in (("exec", "-i", "web", "--", "cat"), ("logs", "-f", "web", "--tail=1")):
                found.append(stack.enter_context(k.running(*words)))
        for shell, log in zip(found[::2], found[1::2], strict=True):
            echo(shell)
            read_line(log)
        yield found


def echo(shell):
    shell.stdin.write(b"echo\n")
    assert read_line(shell) == b"echo\n"


def all_end(found):
    """Check that all sessions end within END_S, and that no exec reports success."""
    end = time.monotonic() + END_S
    codes = [each.wait(max(0.1, end - time.monotonic())) for each in found]
    assert 0 not in codes[::2] or cluster_programs.SPDY_TO_KUBELETS, codes


@contextmanager
def constant_execs(cluster):
    """Run one exec after the other by each transport during the block; yield the list of error texts."""
    over, errors, counts = threading.Event(), [], []

    def run(k):
        while not over.is_set():
            try:
                k.ok("exec", "web", "--", "true")
            except (AssertionError, subprocess.TimeoutExpired) as error:
                errors.append(f"{k.transport}: {error}")
            counts.append(k.transport)

    threads = [threading.Thread(target=run, args=(k,)) for k in cluster.clients.values()]
    for each in threads:
        each.start()
    try:
        yield errors
    finally:
        over.set()
        for each in threads:
            each.join()
    assert set(counts) == set(cluster.clients)


def test_a_killed_agent_ends_its_sessions_and_the_next_one_serves(cluster, record_property):
    with sessions(cluster) as found:
        for pid in processes(cluster.worker, "proxy-agent"):
            kill(pid, signal.SIGKILL)
        all_end(found)
    record_property("recovery", round(cluster.wait_until_it_works(), 1))


def test_a_killed_server_ends_its_sessions_and_the_next_one_serves(cluster):
    """The dead server leaves its socket's file behind."""
    with sessions(cluster) as found:
        for pid in processes(cluster.control, "proxy-server"):
            kill(pid, signal.SIGKILL)
        all_end(found)
    cluster.wait_until_it_works()


@contextmanager
def cut_line(cluster):
    """Take the worker's line down for the length of the block."""
    cluster.worker.ip("link", "set", "line", "down")
    try:
        yield
    finally:
        cluster.worker.ip("link", "set", "line", "up")


def test_sessions_survive_a_line_that_is_down_for_a_short_time(cluster):
    with sessions(cluster) as found:
        with cut_line(cluster):
            time.sleep(CUT_S)
        for shell, log in zip(found[::2], found[1::2], strict=True):
            echo(shell)
            read_line(log)
    cluster.wait_until_it_works()


def test_sessions_end_when_the_line_stays_down_and_it_serves_again_when_it_is_up(cluster, record_property):
    with sessions(cluster) as found, cut_line(cluster):
        all_end(found)
    record_property("recovery", round(cluster.wait_until_it_works(), 1))


def test_agents_are_rolled_and_serve_again(cluster):
    k = cluster.kubectl
    k.ok("-n", "kube-system", "rollout", "restart", f"daemonset/{AGENT}")
    cluster.wait_for_agents()
    cluster.wait_until_it_works()


def test_without_agents_each_command_fails_soon_and_with_agents_again_all_work(cluster, everywhere):
    k = cluster.kubectl
    nowhere = '{"spec": {"template": {"spec": {"nodeSelector": {"none": "none"}}}}}'
    k.ok("-n", "kube-system", "patch", "daemonset", AGENT, "-p", nowhere)
    k.ok("-n", "kube-system", "wait", "--for=delete", "pod", "-l", f"k8s-app={AGENT}", "--timeout=60s")

    def check(client):
        began = time.monotonic()
        for words in (
            ("logs", "web"),
            ("exec", "web", "--", "true"),
            ("get", "--raw", "/api/v1/nodes/worker/proxy/healthz"),
            ("get", "--raw", "/api/v1/namespaces/default/services/web:http/proxy/index.html"),
        ):
            assert "error" in client.error(*words).lower()
        assert time.monotonic() - began < 40

    everywhere(check)
    back = '[{"op": "remove", "path": "/spec/template/spec/nodeSelector/none"}]'
    k.ok("-n", "kube-system", "patch", "daemonset", AGENT, "--type=json", "-p", back)
    cluster.wait_for_agents()
    cluster.wait_until_it_works()


def test_a_deployment_of_two_agents_is_rolled_without_a_failed_exec(cluster):
    k = cluster.kubectl
    k.ok("apply", "-f", "-", stdin=cluster.agent_objects("--mode=Deployment", "--replicas=2"))
    cluster.wait_for_agents("deployment")
    k.ok("-n", "kube-system", "delete", "daemonset", AGENT)
    cluster.wait_until_it_works()
    with constant_execs(cluster) as errors:
        k.ok("-n", "kube-system", "rollout", "restart", f"deployment/{AGENT}")
        cluster.wait_for_agents("deployment")
    assert errors == []
    k.ok("apply", "-f", "-", stdin=cluster.agent_objects())
    cluster.wait_for_agents()
    k.ok("-n", "kube-system", "delete", f"deployment/{AGENT}", f"poddisruptionbudget/{AGENT}")


def test_the_server_is_replaced_by_one_that_keeps_a_lease_which_agents_count(cluster):
    k, control = cluster.kubectl, cluster.control
    before = cluster.containers("konnectivity-server")
    k.ok("apply", "-f", "-", stdin=cluster.agent_objects("--leases"))
    server = cluster.tool("manifests", "server", "--leases", *cluster.server_arguments)
    with sessions(cluster) as found:
        control.write(f"{MANIFESTS}/konnectivity-server.yaml", server)
        all_end(found)
    cluster.wait_for_restart("konnectivity-server", before)
    cluster.wait_for_agents()
    until(lambda: b"konnectivity" in k.ok("-n", "konnectivity", "get", "leases"), "the server has a lease")
    cluster.wait_until_it_works()
    assert b"Traceback" not in k.ok("-n", "kube-system", "logs", "-l", f"k8s-app={AGENT}", "--tail=-1")


def test_the_control_planes_node_restarts_and_the_agents_come_back(cluster):
    cluster.control.stop()
    cluster.control.start()
    for client in cluster.clients.values():
        cluster.wait_for_api(client)
    cluster.wait_until_it_works(120)
