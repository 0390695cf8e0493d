"""Certificates that Kamaji renews: the server's, the CA of everything, the kubeconfig; agents stay and come back."""

from __future__ import annotations

import base64
import subprocess

import pytest
from management_cluster import TENANTS

from support.waiting import until

ROTATE = {"metadata": {"annotations": {"certs.kamaji.clastix.io/rotate": ""}}}


@pytest.fixture(scope="module")
def plane(planes):
    return planes("single")


def rotate(plane, secret, key):
    """Let Kamaji renew a Secret and wait until it has; return the new content."""
    name = f"{plane.name}-{secret}"
    before = plane.admin.there(TENANTS, "secret", name)["data"][key]
    plane.admin.patch(TENANTS, "secret", name, ROTATE)

    def renewed():
        after = plane.admin.there(TENANTS, "secret", name)["data"][key]
        return after if after != before else ""

    return until(renewed, lambda: f"Kamaji renews {name}:\n{plane.management.manager.log[-3000:]}")


def shown(plane):
    """Return the text of openssl about the certificate that agents see."""
    namespaces = plane.management.namespaces
    command = [*namespaces.within(namespaces.hub), "openssl", "s_client", "-connect", f"{plane.address}:8132"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout.decode()


def test_the_certificate_of_the_servers_port(plane):
    """A server shows the new certificate of its volume without a restart, and its tunnel stays."""
    plane.start_agent()
    plane.works()
    renewed = base64.b64decode(rotate(plane, "api-server-certificate", "apiserver.crt")).decode()
    assert renewed not in shown(plane)
    plane.pods[-1].volumes.refresh()
    until(lambda: renewed in shown(plane), "the server shows the new certificate")
    plane.works()
    plane.roll()  # Kamaji's Deployment has a checksum of that Secret, so that its pods are replaced
    plane.works()


def test_the_kubeconfig_of_the_server(plane):
    """It has the certificate of a Secret that Kamaji renews apart from it."""
    rotate(plane, "konnectivity-certificate", "tls.crt")
    rotate(plane, "konnectivity-kubeconfig", "konnectivity-server.conf")
    plane.replace_servers()
    plane.start_agent()
    plane.works()


def test_the_ca_of_everything(plane):
    """An agent with the old CA refuses the server, and comes back by itself once a kubelet has written the new one."""
    agent = plane.start_agent()
    plane.works()
    secret = ("secret", f"{plane.name}-api-server-certificate")
    before = plane.admin.there(TENANTS, *secret)["data"]["apiserver.crt"]
    rotate(plane, "ca", "ca.crt")
    until(
        lambda: plane.admin.there(TENANTS, *secret)["data"]["apiserver.crt"] != before,
        "Kamaji renews the certificate of kube-apiserver with the new CA",
    )
    plane.roll()
    process = agent.processes["konnectivity-agent"]
    process.wait_for("certificate is not accepted", timeout_s=60)
    plane.publish_ca()
    agent.volumes.refresh()
    plane.works()
    assert process.returncode is None
