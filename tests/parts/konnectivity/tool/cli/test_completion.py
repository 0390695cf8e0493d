"""Tests of `konnectivity completion` in the real shells: a person types part of a word and presses the tab key."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(sys.executable).parent / "konnectivity"
WAIT_S = 20.0
# Functions in the place of the programs print what they would get.
STAND_INS = 'konnectivity() { echo "ran<$*>"; }; proxy-server() { konnectivity "$@"; }; PS1=; '
SETUP = {
    "bash": STAND_INS + "source {script}; echo rea''dy",
    "zsh": STAND_INS + "autoload -U compinit; compinit -u -D; source {script}; echo rea''dy",
}
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
# What a person types, and the arguments that the program then gets.
TYPED = {
    "konnectivity kubec\t": "kubeconfig",
    "konnectivity egress-config val\t": "egress-config validate",
    "konnectivity top --inter\t 1s": "top --interval 1s",
    "konnectivity completion fi\t": "completion fish",
    "konnectivity manifests all --mode Dep\t": "manifests all --mode Deployment",
    "konnectivity doctor -- proxy-agent --proxy-server-h\t a": "doctor -- proxy-agent --proxy-server-host a",
    "proxy-server --logging-format=js\t": "--logging-format=json",
    "proxy-server --enable-profiling=fa\t": "--enable-profiling=false",
    "proxy-server --cluster-cert=only-f\t": "--cluster-cert=only-file",
    "proxy-server --cluster-cert only-f\t": "--cluster-cert only-file",
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> dict[str, Path]:
    """Return the script of each shell, in a directory with one file whose name is to be completed."""
    directory = tmp_path_factory.mktemp("completion")
    (directory / "only-file").touch()
    found = {}
    for shell in ("bash", "zsh", "fish"):
        found[shell] = directory / f"script.{shell}"
        with found[shell].open("w") as file:
            subprocess.run([TOOL, "completion", shell], stdout=file, check=True)
    return found


class Terminal:
    """Interactive shell on a terminal of its own."""

    def __init__(self, shell: str, script: Path) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(script.parent)
            os.environ.update(TERM="dumb", HOME=str(script.parent))
            os.execvp(shell, START[shell])  # noqa: S606
        self.type(SETUP[shell].replace("{script}", str(script)) + "\n", "ready")

    def type(self, text: str, expected: str) -> str:
        """Type a text, and return what the terminal showed once it shows `expected`."""
        shown, end = "", time.monotonic() + WAIT_S
        for part in text.splitlines(keepends=True):
            os.write(self._descriptor, part.encode())
        while expected not in shown and time.monotonic() < end:
            if select.select([self._descriptor], [], [], 0.5)[0]:
                shown += os.read(self._descriptor, 65536).decode(errors="replace")
        assert expected in shown, shown
        return shown

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._descriptor)


def present(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is missing: apt-get install {shell}")


@pytest.fixture(scope="module", params=["bash", "zsh"])
def terminal(request, scripts):
    present(request.param)
    made = Terminal(request.param, scripts[request.param])
    yield made
    made.close()


@pytest.mark.parametrize("typed", TYPED)
def test_the_tab_key_completes_a_word(terminal, typed):
    shown = terminal.type(f"{typed}\n", ">\r\n")
    assert shown.split("ran<")[1].split(">")[0].strip() == TYPED[typed]


FISH = {
    "konnectivity kubec": "kubeconfig",
    "konnectivity egress-config val": "validate",
    "konnectivity completion fi": "fish",
    "konnectivity top --inter": "--interval",
    "proxy-server --logging-format=js": "--logging-format=json",
    "proxy-agent --proxy-server-h": "--proxy-server-host",
    "proxy-server --cluster-cert only-f": "only-file",
}


def test_fish_completes_a_word(scripts):
    present("fish")
    asked = "\n".join(f"echo (complete -C '{line}' | string replace -r '\\t.*' '')" for line in FISH)
    shown = subprocess.run(
        ["fish", "--no-config", "-c", f"source {scripts['fish']}\n{asked}"],
        capture_output=True,
        text=True,
        cwd=scripts["fish"].parent,
        timeout=60,
        check=True,
    )
    assert shown.stderr == ""
    assert shown.stdout.splitlines() == list(FISH.values())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_finds_no_fault_in_its_script(scripts, shell):
    present(shell)
    checked = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
