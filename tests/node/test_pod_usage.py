"""Tests of CPU and memory: the figures of `kubectl top`, and the memory of server and agent."""

from __future__ import annotations

import os
import re
import threading
from contextlib import ExitStack, contextmanager

import pytest

from support.kubectl_command import read_line
from support.waiting import until

MIB = 1 << 20
SIZE = 50 * MIB
SAMPLE_S = 0.02
UNITS = {"Ki": 1 << 10, "Mi": MIB, "Gi": 1 << 30}
PROGRAMS = ("proxy-server", "proxy-agent")


@pytest.fixture(scope="module")
def figures(cluster):
    """Register the metrics server's API, and wait until it has figures of the nodes and of the pod `web`.

    The API is removed before other tests take the agents away, since kubectl reports an API that is out of reach.
    """
    k = cluster.kubectl
    cluster.metrics_server.register()
    for words, names in ((("top", "nodes"), {"control", "worker"}), (("top", "pods"), {"web"})):
        expected = f"kubectl {' '.join(words)} has figures of {names}"
        until(lambda words=words, names=names: names <= set(rows(k.run(*words).stdout)), expected)
    yield
    cluster.metrics_server.unregister()


def rows(table):
    """Return CPU in thousandths and memory in bytes, keyed by the name in the first column of `kubectl top`."""
    found = re.findall(r"^(\S+) +(\d+)m +(?:\d+% +)?(\d+)([KMG]i)", table.decode(), re.MULTILINE)
    return {name: (int(cpu), int(memory) * UNITS[unit]) for name, cpu, memory, unit in found}


def test_kubectl_top_shows_cpu_and_memory_of_both_nodes(everywhere, figures):
    def check(k):
        found = rows(k.ok("top", "nodes"))
        assert set(found) == {"control", "worker"}
        for cpu, memory in found.values():
            assert 0 < cpu <= 1000 * os.cpu_count()
            assert memory > 50 * MIB

    everywhere(check)


def test_kubectl_top_shows_cpu_and_memory_of_pods(everywhere, figures, cluster):
    def check(k):
        found = rows(k.ok("top", "pods"))
        assert found["web"][0] > 0  # it prints twenty lines a second
        assert found["web"][1] > 0
        (agent,) = rows(k.ok("-n", "kube-system", "top", "pods", "-l", "k8s-app=konnectivity-agent")).values()
        assert 10 * MIB < agent[1] < 64 * MIB

    everywhere(check)


def place(cluster, program):
    """Return the node of a program's pod, and the id of the program's process; a predecessor may drain for a while."""
    node = cluster.control if program == "proxy-server" else cluster.worker
    (pid,) = until(lambda: len(found := node.processes(f"/{program}")) == 1 and found, f"one {program} runs")
    return node, pid


@contextmanager
def highest_memory(cluster):
    """Yield a dictionary that gets, at the end of the block, the highest anonymous memory of each program's cgroup."""
    over, highest = threading.Event(), dict.fromkeys(PROGRAMS, 0)
    found = {program: place(cluster, program) for program in PROGRAMS}

    def sample():
        while not over.wait(SAMPLE_S):
            for program, (node, pid) in found.items():
                highest[program] = max(highest[program], node.memory(pid)[0])

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


def load(k, directory):
    """Copy SIZE bytes into a pod and back while eight commands follow a log."""
    source, back = directory / "data", directory / k.transport
    with ExitStack() as stack:
        followers = [stack.enter_context(k.running("logs", "-f", "web", "--tail=1")) for _ in range(8)]
        k.copy(str(source), "web:/tmp/data")
        k.copy("web:/tmp/data", str(back))
        for each in followers:
            read_line(each)
    assert back.stat().st_size == SIZE
    back.unlink()


def test_copies_and_logs_need_less_memory_than_they_transfer(cluster, tmp_path, record_property):
    """Each transport has the load alone, so that the memory is its own.

    The bound is below four fifths of both limits in the manifests.
    """
    (tmp_path / "data").write_bytes(os.urandom(SIZE))
    for transport, k in cluster.clients.items():
        with highest_memory(cluster) as highest:
            load(k, tmp_path)
        for program, used in highest.items():
            assert 0 < used < SIZE, f"{program}, {transport}"
        text = ", ".join(f"{program} {used / MIB:.0f} MiB" for program, used in highest.items())
        record_property("transport", transport)
        record_property("figures", (transport, text))


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_operation_exceeds_the_memory_limits_of_the_manifests(cluster, program, record_property):
    """Neither program was ended for its memory, and it uses less than four fifths of its limit."""
    node, pid = place(cluster, program)
    used, limit, kills = node.memory(pid)
    record_property(f"{program} MiB", round(used / MIB, 1))
    assert kills == 0
    assert used < 0.8 * limit < 1 << 30
