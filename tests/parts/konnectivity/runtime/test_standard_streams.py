"""Programs and tools whose standard streams are closed, full, or have no reader: a result, no traceback, no abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from konnectivity.testing.deployment import free_port

BIN = Path(sys.executable).parent
COMMANDS = [
    "proxy-server --help",
    "proxy-server --check-config --server-ca-cert=/none",
    "proxy-agent --help",
    "konnectivity --help",
    "konnectivity egress-config --uds /run/x",
    "konnectivity manifests all --server 192.0.2.1",
    "konnectivity explain -- proxy-agent --ca-cert=/none",
    "konnectivity top --once --admin=127.0.0.1:1",
    "konnectivity explain-route --admin=127.0.0.1:1 a:1",
    "konnectivity doctor --timeout=1s --admin=127.0.0.1:1",
    "konnectivity curl http://a:1/ --server unix:/none",
    "konnectivity dial a:1 --server unix:/none",
    "konnectivity pki --check /none",
    "konnectivity none",
]
CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&- <&-"]


def run(line: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(["bash", "-c", line], env=clean, cwd=BIN, capture_output=True, text=True, timeout=30)


def check(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode in (0, 1, 2), (ended.returncode, ended.stderr)
    for ugly in ("Traceback", "Exception ignored", "Errno", "Assertion", "NoneType"):
        assert ugly not in ended.stdout + ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_streams_that_are_closed(command):
    for how in CLOSED:
        check(run(f"./{command} {how}"))


@pytest.mark.parametrize("command", COMMANDS)
def test_streams_that_are_full(command):
    ended = run(f"./{command} >/dev/full")
    check(ended)
    assert ended.returncode or "o space left" in ended.stderr or not run(f"./{command}").stdout
    check(run(f"./{command} 2>/dev/full"))


@pytest.mark.parametrize("command", [each for each in COMMANDS if "help" in each or "manifests" in each])
def test_a_reader_that_leaves_is_no_news(command):
    ended = run(f"set -o pipefail; ./{command} | true")
    check(ended)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_an_output_that_cannot_be_written_is_told_in_one_line():
    ended = run("./konnectivity manifests all --server 192.0.2.1 >/dev/full")
    assert ended.stderr == "konnectivity: cannot write the output: no space left on device\n"
    assert ended.returncode == 1


def test_an_agent_whose_streams_are_closed_serves(tmp_path):
    """The event loop would end the process when it closes a socket with a number below 3."""
    run(f"./konnectivity pki --directory {tmp_path} --server-name a.test")
    ca = next(tmp_path.rglob("ca.crt"))
    ports = f"--health-server-port={free_port()} --admin-server-port={free_port()}"
    started = f"./proxy-agent --ca-cert={ca} --proxy-server-host=127.0.0.1 --proxy-server-port=1 {ports}"
    ended = run(f"timeout -s TERM 3 {started} --log-file={tmp_path}/log --logtostderr=false <&- >&- 2>&-; echo $?")
    log = (tmp_path / "log").read_text()
    assert "Proxy agent stopped" in log
    assert "Traceback" not in log
    assert ended.stdout == "124\n"
