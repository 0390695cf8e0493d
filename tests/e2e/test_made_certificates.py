"""Tests of server, agent and `konnectivity dial` with certificates of `konnectivity pki`: mutual TLS everywhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from konnectivity.client import DialError, TunnelLost, connect, tls_context
from konnectivity.testing.deployment import Deployment
from support import targets
from support.targets import listening

TOOL_TIMEOUT_S = 30
TOOL = [sys.executable, "-m", "konnectivity.tool.cli"]


async def run(*arguments, stdin: bytes = b""):
    """Run the tool and return its exit code, output and errors."""
    done = await asyncio.to_thread(
        subprocess.run, [*TOOL, *arguments], input=stdin, capture_output=True, timeout=TOOL_TIMEOUT_S
    )
    return done.returncode, done.stdout, done.stderr.decode()


async def greet(reader, writer):
    """Answer and close the connection, since a TLS client cannot signal the end of its request."""
    writer.write(await reader.readexactly(5) + b" to you")
    writer.close()


@pytest.fixture
async def made(fresh: Deployment):
    """Yield a deployment that uses the certificates made by `konnectivity pki`."""
    directory = fresh.directory / "pki"
    code, _, errors = await run(
        "pki", "--directory", str(directory), "--server-ip", "127.0.0.1", "--agent-name", "node-1"
    )
    assert code == 0, errors
    fresh.start_server(
        *(f"--cluster-{flag}={directory / name}" for flag, name in edge("server", "ca").items()),
        *(f"--server-{flag}={directory / name}" for flag, name in edge("frontend", "frontend-ca").items()),
        "--agent-identity=certificate-san",
        "--proxy-strategies=destHost,default",
    )
    agent = edge("agent", "ca")
    fresh.start_agent(
        f"--ca-cert={directory / agent['ca-cert']}",
        f"--agent-cert={directory / agent['cert']}",
        f"--agent-key={directory / agent['key']}",
        "--agent-identifiers=host=node-1",
    )
    return fresh, directory


def edge(name, ca):
    return {"cert": f"{name}.crt", "key": f"{name}.key", "ca-cert": f"{ca}.crt"}


def dial(deployment: Deployment, directory: Path, name: str, address: str):
    files = [
        f"--ca-cert={directory}/frontend-ca.crt",
        f"--cert={directory}/{name}.crt",
        f"--key={directory}/{name}.key",
    ]
    return run("dial", address, "--server", f"localhost:{deployment.server_port}", *files, stdin=b"hello")


async def test_a_dial_over_mutual_tls(made):
    async with listening(greet) as address:
        assert await dial(*made, "client", address) == (0, b"hello to you", "")


async def test_an_agents_certificate_does_not_open_the_frontend(made):
    async with listening(greet) as address:
        code, out, errors = await dial(*made, "agent", address)
    assert (code, out) == (1, b"")
    assert errors


async def test_a_frontends_certificate_is_no_agents(made):
    deployment, directory = made
    credential = [f"--agent-cert={directory}/client.crt", f"--agent-key={directory}/client.key"]
    stranger = deployment.start_package(
        "konnectivity_agent", deployment.agent_arguments(*credential, f"--ca-cert={directory}/ca.crt")
    )
    await asyncio.to_thread(stranger.wait_for, "Cannot connect to the server")
    assert "Connected to server" not in stranger.log


async def test_renewed_certificates_are_taken_up_by_those_that_run(made):
    deployment, directory = made
    old = (directory / "frontend.crt").read_bytes()
    code, _, errors = await run("pki", "--directory", str(directory), "--renew", "frontend,client")
    assert code == 0, errors
    assert (directory / "frontend.crt").read_bytes() != old
    context = tls_context(*(str(directory / name) for name in ("frontend-ca.crt", "client.crt", "client.key")), "grpc")
    end = time.monotonic() + 15
    async with listening(targets.echo) as address:
        while True:
            try:
                async with connect(f"127.0.0.1:{deployment.server_port}", "grpc", context) as tunnel:
                    reader, writer = await tunnel.dial(address)
                    writer.write(b"hello")
                    assert await reader.readexactly(5) == b"hello"
                    writer.close()
                    break
            except (DialError, TunnelLost, OSError):
                assert time.monotonic() < end
                await asyncio.sleep(0.2)
    server = deployment.processes[0]
    await asyncio.to_thread(server.wait_for, "TLS files have changed; new connections use them")
