"""Tests of dist/konnectivity: built once, then started by the system's Python with an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from konnectivity.client import connect
from konnectivity.testing.deployment import Deployment
from support.directory_rights import let_others_enter
from support.targets import echo, listening

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path("/usr/bin/python3")
NOBODY = 65532

pytestmark = pytest.mark.timeout(300)  # covers the build and its packages


def lacking():
    if not PYTHON.exists():
        return f"{PYTHON} is missing"
    found = subprocess.run(
        [PYTHON, "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"], capture_output=True, check=False
    )
    return f"{PYTHON} is older than 3.11, or has no ensurepip (Debian: python3-venv)" if found.returncode else None


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if reason := lacking():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("dist")
    let_others_enter(directory)  # other users start the file as well
    command = [PYTHON, ROOT / "scripts/single_file.py", directory]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return directory


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={}, check=False, **more)


def bare(program):
    """Return program and arguments for `Deployment.start_program` that run `program` in an empty environment."""
    return Path("/usr/bin/env"), ["-i", str(program)]


@pytest.fixture
def deployment(tmp_path):
    running = Deployment(tmp_path / "deployment")
    yield running
    running.stop()


def start(deployment, built, *more):
    env, program = bare(built / "konnectivity-server")
    server = deployment.start_program(env, [*program, *deployment.server_arguments(*more)])
    env, program = bare(built / "proxy-agent")
    agent = deployment.start_program(env, [*program, *deployment.agent_arguments()])
    agent.wait_for("Connected to server")
    return server, agent


def test_one_file_by_four_names(built):
    names = ("konnectivity", "konnectivity-server", "proxy-agent", "proxy-server")
    assert sorted(each.name for each in built.iterdir()) == sorted(names)
    assert {os.readlink(built / name) for name in names[1:]} == {"konnectivity"}
    assert (built / "konnectivity").read_bytes().startswith(b"#!/usr/bin/python3 -IB\n")
    assert "Usage:\n  proxy-server " in run(built / "konnectivity-server", "--help").stdout
    assert "Usage:\n  proxy-agent " in run(built / "konnectivity", "proxy-agent", "--help").stdout
    assert run(built / "konnectivity", "--version").stdout.startswith("konnectivity ")


async def test_server_agent_and_a_dial(built, deployment):
    server, agent = start(deployment, built)
    for process in (server, agent):
        assert Path(f"/proc/{process.pid}/exe").resolve() == PYTHON.resolve()
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert re.search(r"r-xp .*/memfd:konnectivity", maps)
        assert ".venv" not in maps
    async with listening(echo) as target, connect(f"unix:{deployment.socket}", mode="grpc") as tunnel:
        reader, writer = await tunnel.dial(target)
        writer.write(b"through one file")
        assert await reader.readexactly(16) == b"through one file"
        writer.close()
    for process in (agent, server):
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.log


def test_workers(built, deployment):
    server, agent = start(deployment, built, "--workers=2")
    agent.wait_for("Connected to server", times=2)
    server.send(signal.SIGTERM)
    server.send(signal.SIGTERM)
    assert server.wait() == 0, server.log


def test_the_tool_runs_the_demo(built, tmp_path):
    shown = run(built / "konnectivity", "demo", cwd=tmp_path)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "4 of 4 pages" in shown.stdout


def test_it_needs_no_place_to_write(built, tmp_path):
    """The program runs for a user without a home on a root that is entirely read-only."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("root and util-linux are needed, to make a read-only root")
    let_others_enter(tmp_path)
    script = f"""
        mkdir -p {tmp_path}/root
        mount --bind / {tmp_path}/root
        mount --rbind {built} {tmp_path}/root{built}
        mount -o remount,ro,bind {tmp_path}/root
        mount -t proc proc {tmp_path}/root/proc
        exec setpriv --no-new-privs chroot --userspec={NOBODY}:{NOBODY} {tmp_path}/root "$@"
    """
    inside = ("unshare", "--mount", "sh", "-euc", f"export PATH=/usr/sbin:/usr/bin:/sbin:/bin; {script}", "sh")
    written = run(*inside, "sh", "-c", "echo x >/tmp/x || echo x >/dev/shm/x")
    assert written.stderr.count("Read-only file system") == 2
    shown = run(*inside, built / "proxy-server", "--help")
    assert shown.returncode == 0, shown.stderr
    dialled = run(*inside, built / "konnectivity", "dial", "a:1", "--mode=grpc", "--server=unix:/x")
    assert re.match("konnectivity dial: .*no such file or directory", dialled.stderr)


def test_nothing_else_is_imported(built, tmp_path):
    """No module is imported from the working directory or from a path in the environment."""
    for name in ("konnectivity", "uvloop", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('other code ran')")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "uvloop.py")}
    shown = subprocess.run(
        [built / "konnectivity", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert (shown.returncode, shown.stdout[:13]) == (0, "konnectivity "), shown.stderr


def test_every_file_of_the_packages_is_in_it(built):
    names = set(zipfile.ZipFile(built / "konnectivity").namelist())
    for package in ("konnectivity", "server/konnectivity_server", "agent/konnectivity_agent"):
        for each in (ROOT / package).rglob("*"):
            if each.is_file() and "__pycache__" not in each.parts and each.suffix not in (".pyi", ".pyc"):
                assert str(each.relative_to((ROOT / package).parent)) in names


def test_an_upgrade_does_not_disturb_what_runs(built, deployment, tmp_path):
    """After the file is replaced, a running program still imports modules from the old file."""
    shutil.copy2(built / "konnectivity", tmp_path / "proxy-server")
    env, program = bare(tmp_path / "proxy-server")
    server = deployment.start_program(env, [*program, *deployment.server_arguments("--enable-profiling")])
    server.wait_for("Proxy server started")
    (tmp_path / "new").write_text("not even a zip file")
    (tmp_path / "new").rename(tmp_path / "proxy-server")
    with urlopen(f"http://127.0.0.1:{deployment.admin_port}/debug/pprof/heap", timeout=30) as heap:
        assert heap.read()
    server.send(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert "Error" not in server.log


def test_another_python_is_told_what_to_do(built):
    """A Python one version too new or too old prints what to do, since compiled modules fit one version."""
    main = run(
        PYTHON, "-IBc", f"import zipfile; print(zipfile.ZipFile('{built}/konnectivity').read('__main__.py').decode())"
    )
    changed = main.stdout.replace(f"({sys.version_info[0]}, ", "(4, ")
    assert changed != main.stdout
    code = f"import sys; sys.path.insert(0, '{built}/konnectivity')\n{changed}"
    shown = run(PYTHON, "-IBc", code)
    assert shown.returncode == 1
    assert re.search(r"^Error: .*/konnectivity is for Python 4\.\d+ on .*make zipapp PYTHON=", shown.stderr)
