"""Tests of wrong or doubtful flag values: refused with the reason, or accepted with a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SERVER = (
    "proxy-server",
    "--uds-name=/tmp/none.sock",
    "--cluster-cert={f}",
    "--cluster-key={f}",
    "--cluster-ca-cert={f}",
)
AGENT = ("proxy-agent", "--ca-cert={f}")


def checked(tmp_path, program, *flags, environment=None):
    """Run `PROGRAM ... --check-config`; return its exit code and its stderr."""
    file = tmp_path / "file"
    file.touch()
    name, *rest = program
    command = [str(BIN / name), *(each.format(f=file) for each in rest), "--check-config", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("program", "flags", "warning"),
    [
        (SERVER, ["--server-count=-1"], "--server-count=-1: agents take it for 1"),
        (SERVER, ["--server-count=0"], "--server-count=0: agents take it for 1"),
        (SERVER, ["--server-count=9223372036854775807"], "agents take it for 1024"),
        (SERVER, [f"--server-id={'x' * 300}"], "--server-id has 300 characters"),
        (SERVER, ["start"], "argument 'start' is ignored"),
        (SERVER, ["--enable-profiling", "false"], "argument 'false' is ignored"),
        (AGENT, ["start", "--", "--now"], "argument '--now' is ignored"),
        (AGENT, ["--agent-identifiers=ipv4=1.2.3"], "ipv4=1.2.3: no destination will ever match it"),
        (AGENT, ["--agent-identifiers=ipv6=10.0.0.1&host="], "host=: no destination will ever match it"),
        (AGENT, ["--agent-identifiers=cidr=10.0.0.0/99"], "cidr=10.0.0.0/99"),
    ],
)
def test_what_the_reference_takes_starts_with_a_warning(tmp_path, program, flags, warning):
    code, said = checked(tmp_path, program, *flags)
    assert code == 0
    assert said.startswith("Warning: ")
    assert warning in said


@pytest.mark.parametrize(
    ("program", "flags", "error"),
    [
        (SERVER, ["--server-count=100000000000000000000"], "value out of range"),
        (SERVER, [f"--server-count={'9' * 5000}"], "value out of range"),
        (SERVER, ["--server-count=-9223372036854775809"], "value out of range"),
        (SERVER, ["--server-id= one"], "must not begin or end with a space"),
        (SERVER, ["--server-id=eins\n"], "must be of printable ASCII characters"),
        (AGENT, ["--agent-id=one "], "must not begin or end with a space"),
        (AGENT, ["--agent-id=\u00e4"], "must be of printable ASCII characters"),
        (AGENT, ["--agent-identifiers=host=\u00e4"], "must be of printable ASCII characters"),
        (AGENT, ["--proxy-server-host=localhost:8091:3"], "'localhost:8091:3' is no host"),
    ],
)
def test_what_can_never_work_is_refused_with_the_reason(tmp_path, program, flags, error):
    code, said = checked(tmp_path, program, *flags)
    assert code == 1
    assert error in said


def test_a_variable_is_checked_like_its_flag(tmp_path):
    code, said = checked(tmp_path, AGENT, environment={"PROXY_AGENT_ID": " one"})
    assert code == 1
    assert 'environment variable "PROXY_AGENT_ID": must not begin or end with a space' in said


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        (SERVER, ["--server-count=3", "--server-id=a b"]),
        (AGENT, ["--agent-id=node 1", "--agent-identifiers=ipv4=${HOST_IP}&host=a&default-route=true&cidr=10.0.0.1/8"]),
    ],
)
def test_what_is_well_is_not_warned_of(tmp_path, program, flags):
    assert checked(tmp_path, program, *flags) == (0, "")
