"""Test of the forward proxies with a real kube-apiserver: kubectl reaches it by `proxy-url`."""

from __future__ import annotations

import pytest
import yaml

from konnectivity.testing.deployment import Deployment, free_port
from support.waiting import until


@pytest.fixture(scope="module")
def cluster(make_cluster, tmp_path_factory):
    """Yield a running kube-apiserver and etcd."""
    made = make_cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start_etcd()
        made.start_apiserver()
        until(made.ready, "kube-apiserver is ready")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def proxies(cluster, tmp_path_factory):
    """Yield the ports of a sidecar and of the forward proxy inside the server, in the network of kube-apiserver."""
    deployment, ports = Deployment(tmp_path_factory.mktemp("deployment")), (free_port(), free_port())
    within = ["ip", "netns", "exec", cluster.namespaces.control]
    try:
        server = deployment.start_server(f"--forward-port={ports[1]}", within=within)
        agent = deployment.start_package("konnectivity_agent", deployment.agent_arguments(), within)
        agent.wait_for("Connected to server")
        arguments = [f"--server=unix:{deployment.socket}", f"--port={ports[0]}"]
        sidecar = deployment.start_package("forward", arguments, within)
        sidecar.wait_for("Forward proxy started")
        yield ports, (sidecar, server)
    finally:
        deployment.stop()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("inside", [False, True], ids=["sidecar", "server"])
def test_kubectl_reaches_kube_apiserver_by_proxy_url(cluster, proxies, scheme, inside):
    ports, processes = proxies
    file = cluster.path(f"{scheme}-{inside}.kubeconfig")
    found = yaml.safe_load(cluster.path("admin.kubeconfig").read_text())
    found["clusters"][0]["cluster"]["proxy-url"] = f"{scheme}://127.0.0.1:{ports[inside]}"
    file.write_text(yaml.safe_dump(found))
    namespaces = cluster.ok(f"--kubeconfig={file}", "get", "namespaces", "-o", "name")
    assert b"namespace/kube-system" in namespaces
    protocol = "connect" if scheme == "http" else "socks5"
    assert f'protocol="{protocol}"' in processes[inside].log
