"""Tests that paste docs/start/quickstart.md into a shell, in a network namespace where possible (ports are fixed)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from support.shell import Shell, blocks

DOCS = Path(__file__).parents[2] / "docs"
LOOPBACK_UP = "ip link set lo up"


@pytest.fixture
def shell(tmp_path):
    """Yield a shell with our programs in PATH, as after the installation."""
    missing = [name for name in ("curl", "unshare", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    alone = ["unshare", "--net", "sh", "-c", f'{LOOPBACK_UP} && exec "$@"', "sh"] if os.getuid() == 0 else []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with Shell(tmp_path, {"PATH": path}, alone) as made:
        yield made


def test_one_machine(shell, tmp_path):
    install, pki, server, agent, page, end = blocks(DOCS / "start/quickstart.md")
    assert "pki/server.crt" in shell.paste(pki)
    assert shell.paste(server) == "ok"  # no line of an attempt that failed
    assert shell.paste(agent) == "ok"
    answer = shell.paste(page)
    assert "HTTP/1.0 200 OK" in answer
    assert answer.endswith((tmp_path / "page.html").read_text())
    shell.paste(end)
    # The lines that install are the README's, which tests/supply_chain/test_release.py pastes in clean environments.
    assert install.splitlines()[:2] == blocks(DOCS.parent / "README.md")[0].splitlines()[:2]
    assert "127.0.0.1:8000" in (tmp_path / "agent.log").read_text()
    for log in ("server.log", "agent.log"):
        assert "Traceback" not in (tmp_path / log).read_text()


def test_the_forward_proxy(shell, tmp_path):
    tunnel, sidecar, pages = blocks(DOCS / "operate/forward.md")
    shell.paste(tunnel)
    shell.paste(sidecar)
    assert shell.paste(pages) == "the same\n"
    assert "Traceback" not in (tmp_path / "forward.log").read_text()


def test_a_command_that_fails_is_noticed(shell):
    with pytest.raises(RuntimeError, match="the shell ended"):
        shell.paste("false\necho it went on")
