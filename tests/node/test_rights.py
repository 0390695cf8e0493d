"""Tests of the rights of agents and server with a real API server that issues and reviews tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kubeadm_files import FILES
from kubectl import Kubectl
from real_cluster import CONTROL_IP

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import ProgramProcess


@pytest.fixture
def server_user(cluster):
    """Return kubectl with the kubeconfig of the proxy server."""
    config = cluster.directory / "server.conf"
    text = cluster.control.path(f"{FILES}/konnectivity-server.conf").read_text()
    config.write_text(text)
    return Kubectl("grpc-uds", cluster.control, cluster.programs / "kube", config)


def test_an_agent_with_a_token_for_another_audience_is_refused(cluster, tmp_path):
    token = cluster.kubectl.ok("-n", "kube-system", "create", "token", "konnectivity-agent", "--audience=another")
    (tmp_path / "token").write_bytes(token)
    arguments = [
        f"--proxy-server-host={CONTROL_IP}",
        "--proxy-server-port=8132",
        f"--ca-cert={cluster.work / 'pki/ca.crt'}",
        f"--service-account-token-path={tmp_path / 'token'}",
    ]
    _, *within = cluster.worker.in_network(*launcher.command("proxy-agent"), *arguments)
    enter = shutil.which("nsenter")
    assert enter is not None
    stranger = ProgramProcess(enter, within, tmp_path / "stranger.log")
    try:
        stranger.wait_for("the token is not valid", timeout_s=30)
    finally:
        stranger.stop()


def test_the_servers_user_may_review_tokens_and_no_more(server_user):
    who = json.loads(server_user.ok("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert who["username"] == "system:konnectivity-server"
    assert who["groups"] == ["system:authenticated"]
    assert server_user.ok("auth", "can-i", "create", "tokenreviews") == b"yes\n"
    for refused in (("get", "secrets"), ("create", "pods"), ("*", "*")):
        assert server_user.run("auth", "can-i", *refused).stdout == b"no\n"


def test_both_programs_run_as_the_user_of_their_images_without_capabilities(cluster):
    for node, program in ((cluster.control, "proxy-server"), (cluster.worker, "proxy-agent")):
        for pid in node.processes(f"/{program}"):
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert status["Uid"].split() == ["65532"] * 4
            assert int(status["CapEff"], 16) == 0
            assert status["Seccomp"] == "2"


def test_the_files_of_the_server_are_readable_by_it_and_not_by_others(cluster):
    for name in ("server.key", "konnectivity-server.conf"):
        path = cluster.control.path(f"{FILES}/{name}")
        found = path.stat()
        assert (found.st_uid, found.st_mode & 0o777) == (65532, 0o400), name
