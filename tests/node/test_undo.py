"""Tests of renewal and removal as docs/start/quickstart-kubeadm.md has them.

This file is the last of its folder, since its tests remove the product from the cluster.
"""

from __future__ import annotations

from kubeadm_files import FILES, MANIFESTS, SOCKETS

from support.checkout import DOCS
from support.shell import blocks
from support.waiting import until

PAGE = DOCS / "start/quickstart-kubeadm.md"


def test_the_installation_was_pasted_unchanged(cluster):
    assert "daemonset.apps/konnectivity-agent created" in cluster.quickstart[1]
    assert "egress-selector-config-file" in cluster.control.path(f"{MANIFESTS}/kube-apiserver.yaml").read_text()


def test_renewed_certificates_are_used_without_a_restart(cluster):
    *_, renewal, _undo, _remove = blocks(PAGE)
    before = cluster.control.processes("proxy-server")
    assert "server.crt" in cluster.start_shell().paste(renewal)
    cluster.kubectl.ok("-n", "kube-system", "rollout", "restart", "daemonset/konnectivity-agent")
    cluster.wait_for_agents()
    cluster.wait_until_it_works()
    assert cluster.control.processes("proxy-server") == before


def test_the_removal_leaves_nothing(cluster):
    *_, undo, remove = blocks(PAGE)
    shell = cluster.start_shell()
    before = cluster.containers("kube-apiserver")
    shell.paste(undo)
    cluster.wait_for_restart("kube-apiserver", before)
    assert 'daemonset.apps "konnectivity-agent" deleted' in shell.paste(remove)
    for name in (FILES, SOCKETS, f"{MANIFESTS}/konnectivity-server.yaml"):
        assert not cluster.control.path(name).exists()
    until(lambda: not cluster.containers("konnectivity-server"), "the server's container is removed")
