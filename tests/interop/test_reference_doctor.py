"""Test of `konnectivity doctor` with a server of the reference, whose agent port it tells from a gRPC frontend."""

from __future__ import annotations

import subprocess
import sys

from reference_pairs import NEWEST, reference_server, wait_for_start

from konnectivity.testing.deployment import Deployment


def doctor(deployment, port):
    command = [sys.executable, "-m", "konnectivity.tool.cli", "doctor", "--", "proxy-agent"]
    done = subprocess.run(
        [*command, *deployment.agent_arguments(port=port)], capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_the_doctor_tells_the_agent_port_of_the_reference_from_its_frontend(reference, tmp_path):
    deployment = Deployment(tmp_path)
    arguments = [*reference_server(deployment, "connect-tls"), "--mode=grpc"]  # the last value counts
    deployment.start_program(reference(NEWEST)[0], arguments)
    try:
        wait_for_start(deployment)
        assert "this is a frontend" in doctor(deployment, deployment.server_port)
        assert "this is a frontend" not in doctor(deployment, deployment.agent_port)
    finally:
        deployment.stop()
