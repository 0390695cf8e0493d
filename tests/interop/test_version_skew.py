"""Tests of docs/reference/promises.md: programs of the previous version and of this one work together."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from konnectivity import __version__
from konnectivity.client import MODES, connect
from konnectivity.testing.deployment import Deployment, ProgramProcess
from support import targets
from support.checkout import ROOT
from support.targets import listening

PREVIOUS, COMMIT = "0.1.0", "575602887a"  # the last commit of the version before this one
LAUNCHER = "from konnectivity.runtime.launcher import main; main()"


@pytest.fixture(scope="module")
def previous(tmp_path_factory) -> Path:
    """Unpack the sources of the previous version and return their folder."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"commit {COMMIT} is missing: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def command(root: Path, program: str) -> list[str]:
    """Return the beginning of a command line that starts a program from the sources in `root`."""
    return [
        f"PYTHONPATH={root}:{root}/server:{root}/agent",
        sys.executable,
        "-P",
        "-c",
        LAUNCHER,
        program,
    ]  # -P: not of this folder


class Pair:
    """Server and agent of a deployment, each of either version."""

    def __init__(self, deployment: Deployment, roots: dict[str, Path]) -> None:
        self._deployment = deployment
        self._roots = roots
        self.server = self.agent = None

    def start_server(self, version: str) -> None:
        self.server = self._start(version, "proxy-server", self._deployment.server_arguments())
        self.server.wait_for("Proxy server started")

    def start_agent(self, version: str) -> None:
        self.agent = self._start(version, "proxy-agent", self._deployment.agent_arguments("--agent-id=node-1"))

    def _start(self, version: str, program: str, arguments: list[str]) -> ProgramProcess:
        words = [*command(self._roots[version], program), *arguments]
        return self._deployment.start_program(Path("/usr/bin/env"), words)

    async def carries_data(self, address: str) -> None:
        """Check an echo through each mode, and that the tunnel has the extension of this project."""
        for mode in MODES:
            async with connect(f"unix:{self._deployment.socket}", mode=mode) as tunnel:
                reader, writer = await tunnel.dial(address)
                writer.write(b"of two versions" * 10_000)
                assert await reader.readexactly(150_000) == b"of two versions" * 10_000
                writer.close()
        connected = [line for line in self.server.log.splitlines() if "Agent connected" in line]
        assert "extension=true" in connected[-1]


@pytest.fixture
def pair(tmp_path, previous):
    deployment = Deployment(tmp_path / "deployment")
    yield Pair(deployment, {PREVIOUS: previous, __version__: ROOT})
    deployment.stop()


async def test_each_program_is_replaced_by_the_next_version_and_back(pair):
    async with listening(targets.echo) as address:
        pair.start_server(PREVIOUS)
        pair.start_agent(PREVIOUS)
        pair.server.wait_for("Agent connected")
        await pair.carries_data(address)

        pair.agent.stop()  # the agent first
        pair.start_agent(__version__)
        pair.server.wait_for("Agent connected", times=2)
        await pair.carries_data(address)

        pair.server.stop()
        pair.start_server(__version__)
        pair.server.wait_for("Agent connected")
        await pair.carries_data(address)

        pair.agent.stop()  # and back, the agent first: the server is newer
        pair.start_agent(PREVIOUS)
        pair.server.wait_for("Agent connected", times=2)
        await pair.carries_data(address)


def test_the_versions_are_those_that_the_test_is_about(previous):
    for root, version in ((previous, PREVIOUS), (ROOT, __version__)):
        asked = subprocess.run(
            ["env", *command(root, "proxy-agent"), "--version"], capture_output=True, text=True, check=True
        )
        assert asked.stdout.startswith(f"proxy-agent {version} (")


@pytest.mark.parametrize("program", ["server", "agent"])
def test_the_first_line_of_a_log_is_the_version(pair, program):
    pair.start_server(__version__)
    pair.start_agent(__version__)
    process = pair.server if program == "server" else pair.agent
    process.wait_for("started")
    first = process.log.splitlines()[0]
    assert re.search(rf'"Starting" program="proxy-{program}" version="{re.escape(__version__)}" build="', first)


def test_certificates_of_the_previous_version_are_good(previous, tmp_path):
    """`pki --check` of this version accepts what `pki` of the previous one made."""
    made = ["env", *command(previous, "konnectivity"), "pki", f"--directory={tmp_path}", "--server-name=localhost"]
    subprocess.run(made, capture_output=True, check=True)
    check = [
        "--check",
        f"{tmp_path}/server.crt",
        "--role=server",
        f"--ca-cert={tmp_path}/ca.crt",
        "--server-name=localhost",
    ]
    subprocess.run(["env", *command(ROOT, "konnectivity"), "pki", *check], capture_output=True, check=True)
