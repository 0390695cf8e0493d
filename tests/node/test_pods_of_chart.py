"""Test of agents that the Helm chart installs, in the place of those of the manifests."""

from __future__ import annotations

from contextlib import contextmanager

from real_cluster import CONTROL_IP

from support import helm_chart
from support.kubectl_command import read_line


def helm(cluster, *arguments, values=None):
    """Run Helm in the control plane's network and return its output."""
    options = (f"--kubeconfig={cluster.directory / 'grpc-uds.conf'}", "--namespace=kube-system")
    done = helm_chart.run(*arguments, *options, values=values, within=cluster.control.in_network())
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def released_agents(cluster):
    """Install the chart in the place of the manifests' agents, and put these back at the end of the block."""
    values = {
        "image": {"repository": "localhost/konnectivity"},
        "agent": {"servers": [CONTROL_IP], "ca": (cluster.work / "pki/ca.crt").read_text()},
    }
    k = cluster.kubectl
    k.ok("delete", "-f", "-", stdin=cluster.agent_objects())
    try:
        helm(cluster, "install", "konnectivity", str(helm_chart.CHART), "--wait", "--timeout=50s", values=values)
        yield
        helm(cluster, "uninstall", "konnectivity", "--wait")
    finally:
        k.ok("apply", "-f", "-", stdin=cluster.agent_objects())
        cluster.wait_for_agents()


def test_the_charts_agents_carry_logs_and_exec_and_pass_helm_test(cluster, everywhere):
    def check(k):
        assert k.ok("exec", "web", "--", "echo", "hello") == b"hello\n"
        with k.running("logs", "-f", "web", "--tail=1") as process:
            assert read_line(process).startswith(b"line ")

    with released_agents(cluster):
        everywhere(check)
        report = helm(cluster, "test", "konnectivity", "--logs", "--timeout=50s")
        assert "comes from /etc/konnectivity/ca/ca.crt" in report
