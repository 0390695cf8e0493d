"""Tests of certificates that Kamaji renews: the server's, the cluster's CA, and the server's kubeconfig."""

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
    """Let Kamaji renew a Secret, wait for the new Secret, and return its content."""
    name = f"{plane.name}-{secret}"
    before = plane.admin.there(TENANTS, "secret", name)["data"][key]
    plane.admin.patch(TENANTS, "secret", name, ROTATE)

    def renewed():
        after = plane.admin.there(TENANTS, "secret", name)["data"][key]
        return after if after != before else ""

    return until(renewed, lambda: f"Kamaji renews {name}:\n{plane.management.manager.log[-3000:]}")


def shown(plane):
    """Return the output of openssl with the certificate that the server shows to agents."""
    namespaces = plane.management.namespaces
    command = [*namespaces.within(namespaces.hub), "openssl", "s_client", "-connect", f"{plane.address}:8132"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout.decode()


def test_a_renewed_certificate_is_shown_without_a_restart(plane):
    """A server shows the new certificate of its volume without a restart, and keeps its tunnel."""
    plane.start_agent()
    plane.works()
    renewed = base64.b64decode(rotate(plane, "api-server-certificate", "apiserver.crt")).decode()
    assert renewed not in shown(plane)
    plane.pods[-1].volumes.refresh()
    until(lambda: renewed in shown(plane), "the server shows the new certificate")
    plane.works()
    plane.roll()  # Kamaji's Deployment has a checksum of that Secret, so that its pods are replaced
    plane.works()


def test_the_server_takes_a_renewed_kubeconfig(plane):
    """The kubeconfig embeds a certificate whose Secret Kamaji renews on its own."""
    rotate(plane, "konnectivity-certificate", "tls.crt")
    rotate(plane, "konnectivity-kubeconfig", "konnectivity-server.conf")
    plane.replace_servers()
    plane.start_agent()
    plane.works()


def test_agents_reconnect_after_the_cas_renewal(plane):
    """An agent with the old CA refuses the server, and reconnects after a kubelet has written the new CA."""
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
