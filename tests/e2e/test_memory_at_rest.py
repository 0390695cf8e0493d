"""Tests of the private memory of idle programs, compared with a bare Python that has loaded asyncio, ssl and uvloop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
# MiB above the bare interpreter. Measured: server 8.3, agent 7.2 to 7.5. A library loaded by mistake takes more.
MOST = {"server": 8.8, "agent": 7.9}
BARE = "import asyncio, ssl, uvloop; print(open('/proc/self/smaps_rollup').read())"
NOT_AT_REST = (
    "argparse",
    "cryptography",
    "difflib",
    "email",
    "google.protobuf",
    "konnectivity.tls.named_context",
    "konnectivity_server.api.admin_access",
    "konnectivity_server.audit.audit_log",
    "konnectivity_server.peers.peer_servers",
    "konnectivity_server.peers.peer_tunnel",
    "konnectivity_server.tracing",
    "konnectivity_server.workers.supervisor",
    "lzma",
    "opentelemetry",
    "pathlib",
    "prometheus_client",
    "tempfile",
    "uuid",
    "yaml",
)


def anonymous(rollup: str) -> int:
    """Return the anonymous memory in bytes of a text of /proc/PID/smaps_rollup."""
    return int(rollup.partition("Anonymous:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def bare() -> int:
    run = subprocess.run([sys.executable, "-I", "-c", BARE], capture_output=True, text=True, timeout=60, check=True)
    return anonymous(run.stdout)


@pytest.mark.parametrize("program", MOST)
def test_an_idle_program_has_little_memory_of_its_own(deployment, bare, program):
    """Only anonymous memory counts, since a machine has the pages of libraries once for all processes."""
    process = deployment.processes[("server", "agent").index(program)]
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    found = (anonymous(rollup.read_text()) - bare) / MIB
    print(f"{program}: {found:.1f} MiB above {bare / MIB:.1f}")
    assert found < MOST[program]


@pytest.mark.parametrize("program", ["server", "agent"])
def test_an_idle_program_has_not_loaded_the_modules_of_rare_work(program):
    names = f"konnectivity_{program}.{program}_main, konnectivity_{program}.{program}_app"
    code = f"import sys, {names}; print(*(name for name in {NOT_AT_REST!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == []
