"""Tests of kube-apiserver with one gRPC connection for all of its dials (`CreateGRPCTunnel` of the client library).

The client closes the tunnel, with every session on it, after one stream that the server refuses. So every dial of each
load must succeed, and 20 older sessions beside it must survive.
"""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from konnectivity.testing.deployment import Deployment

pytestmark = pytest.mark.timeout(180)
RUN_TIMEOUT_S = 110
MIB = 1 << 20

LOADS = {
    "10,000 dials at once": ["--count=10000", "dials"],
    "1,000 downloads": ["--count=1000", f"--size={MIB}", "downloads"],
    "250 readers that pause": ["--count=250", f"--size={MIB}", "--wait=3s", "paused"],
    "700 uploads in one message each": ["--count=700", f"--size={MIB // 2}", "uploads"],
    "50 uploads in messages of 4 MB": ["--count=50", "--size=4000000", "uploads"],
    "3,000 dials that are cancelled": ["--count=3000", "--wait=10ms", "cancels"],
}


def start(programs, deployment, *arguments):
    command = [str(programs / "tunnel"), f"--socket={deployment.socket}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "ready\n"  # the older sessions are established
    return process


def finish(process):
    try:
        out, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    finally:
        process.kill()
    return json.loads(out)


def unhurt(result, failed=0):
    assert (result["failed"], result["older_broken"], result["tunnels_closed"]) == (failed, 0, 0), result
    return result


@pytest.fixture(scope="module")
def pair(programs, tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("one-connection"))
    deployment.start_server("--backend-dial-timeout=30s")  # a busy machine may need more than 10 s for 10,000 dials
    deployment.start_agent()
    yield deployment
    deployment.stop()


@pytest.fixture
def fresh(tmp_path):
    """Yield a deployment with nothing started yet."""
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("load", LOADS)
def test_a_load_fails_nowhere_and_hurts_no_older_session(programs, pair, load):
    before = pair.processes[0].memory_bytes("VmHWM")
    result = unhurt(finish(start(programs, pair, *LOADS[load])))
    assert result["done"] >= 50
    assert pair.processes[0].memory_bytes("VmHWM") - before < 400 * MIB


def test_a_tunnel_that_was_idle(programs, fresh):
    """A tunnel that is repeatedly closed as idle serves each dial, also a dial that meets the closing."""
    fresh.start_server("--idle-connection-timeout=100ms")
    fresh.start_agent()
    assert unhurt(finish(start(programs, fresh, "--older=0", "--wait=5s", "hold")))["done"] > 30


def test_dials_above_the_limit_of_the_agent_wait(programs, fresh):
    fresh.start_server("--max-pending-dials-per-agent=10")
    fresh.start_agent()
    unhurt(finish(start(programs, fresh, "--count=2000", "dials")))


def test_a_server_that_drains_keeps_the_sessions_and_takes_dials(programs, fresh):
    server = fresh.start_server("--graceful-shutdown-timeout=30s")
    fresh.start_agent()
    process = start(programs, fresh, "--wait=4s", "hold")
    server.send(signal.SIGTERM)
    unhurt(finish(process))


def test_a_server_that_is_replaced_is_dialled_again(programs, fresh):
    """The sessions end with their server; the next dials, on the same tunnel, reach its successor."""
    server = fresh.start_server("--graceful-shutdown-timeout=1ns")
    fresh.start_agent()
    process = start(programs, fresh, "--cached=false", "--older=5", "--wait=12s", "hold")
    server.stop()
    fresh.start_server()
    result = finish(process)
    assert result["older_broken"] == 5
    assert result["done"] > 15, result
