"""Host in a network namespace with its own /etc, /run, /opt and /var/lib, and the actions of a kubelet on it.

Needs root, and the programs ip, unshare and nsenter. Owns every program it starts, and leaves nothing behind.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import ProgramProcess
from konnectivity.tool.manifests.object_names import Object
from support.shell import Shell

# Files written there are visible only in the namespace and vanish with it. /etc begins as a copy.
_OWN_FILES = """
set -e
for each in etc run opt var/lib; do
    mkdir -p "$1/own/$each"
    [ $each = etc ] && cp -a /etc/. "$1/own/etc/"
    mount --bind "$1/own/$each" "/$each"
done
mkdir -p /etc/kubernetes/manifests
echo ready
exec sleep infinity
"""
COMMAND_TIMEOUT_S = 30.0
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0
PROGRAMS = {"/proxy-server", "/proxy-agent"}  # paths in our images


class Host:
    """Host that shares everything but those folders with this machine."""

    def __init__(self, directory: Path, namespace: str, kube: Path) -> None:
        self.directory = directory
        self.kube = kube
        directory.mkdir()
        command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "sh", "-c", _OWN_FILES, "sh", str(directory)]
        self._keeper = subprocess.Popen(command, stdout=subprocess.PIPE)
        if self._keeper.stdout is None or self._keeper.stdout.readline() != b"ready\n":
            raise RuntimeError("no host: its namespace could not be set up")
        self.processes: list[ProgramProcess] = []
        (directory / "bin").mkdir()
        self.path = f"{directory / 'bin'}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.program("kubectl", f'exec {kube} kubectl "$@"')

    def program(self, name: str, script: str) -> None:
        """Add one program to PATH."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\nset -eu\n{script}\n")
        path.chmod(0o755)

    @property
    def within(self) -> list[str]:
        return [shutil.which("nsenter") or "nsenter", "-t", str(self._keeper.pid), "--mount", "--net"]

    def shell(self) -> Shell:
        (self.directory / "work").mkdir()
        inside = [*self.within, f"--wd={self.directory / 'work'}"]
        return Shell(self.directory, {"PATH": self.path}, inside)

    def run(self, *command: str) -> str:
        """Run a command and return its output."""
        done = subprocess.run([*self.within, *command], capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True)
        return done.stdout.decode()

    def write(self, path: str, content: bytes) -> None:
        self.run("mkdir", "-p", str(Path(path).parent))
        subprocess.run(
            [*self.within, "tee", path], input=content, stdout=subprocess.DEVNULL, check=True, timeout=COMMAND_TIMEOUT_S
        )

    def start_container(self, spec: Object, name: str, ready: str) -> ProgramProcess:
        """Start a container of a pod that uses the host's network, with its command and arguments unchanged."""
        (container,) = [each for each in spec["containers"] if each["name"] == name]
        self._check_mounts(spec, container)
        words: list[str] = [*container["command"], *container.get("args", [])]
        command = [str(self.kube), words[0]]
        if words[0] in PROGRAMS:
            command = launcher.command(words[0].removeprefix("/"))
        return self.start([*command, *words[1:]], ready)

    def start(self, command: Sequence[str], ready: str) -> ProgramProcess:
        """Start a program; return when the given text is in its log."""
        enter, *within = self.within
        process = ProgramProcess(enter, [*within, *command], self.directory / f"process-{len(self.processes)}.log")
        self.processes.append(process)
        process.wait_for(ready, timeout_s=START_TIMEOUT_S)
        return process

    def _check_mounts(self, spec: Object, container: Object) -> None:
        """Check that every folder that a pod mounts from the host exists, as kubelet demands."""
        volumes = {each["name"]: each for each in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if "hostPath" in volume:
                if volume["hostPath"]["path"] != mount["mountPath"]:
                    raise ValueError(
                        f"{mount['mountPath']} is elsewhere on the host; only the same path can be had here"
                    )
                kind = {"File": "-f", "Directory": "-d", "DirectoryOrCreate": "-d"}[volume["hostPath"]["type"]]
                self.run("test", kind, mount["mountPath"])

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self._keeper.kill()
        self._keeper.communicate(timeout=END_TIMEOUT_S)
