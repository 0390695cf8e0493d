"""Containers of a pod template, run as a kubelet does: command, arguments, mounts, user and volumes unchanged.

Owns the processes and their roots. The root of a container stands for its image: it has the system's libraries, and the
program that the name of the image stands for. The root is a memory file system in a mount namespace of the process, and
vanishes with the process.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster_client import Object
from pod_volumes import PodVolumes

from konnectivity.runtime import launcher
from konnectivity.testing.deployment import ProgramProcess
from support.checkout import ROOT
from support.cluster_programs import KUBE
from support.waiting import until

BIN = ROOT / ".cache" / "bin"
REFERENCE_VERSION = "v0.36.0"
REFERENCE_IMAGES = "registry.k8s.io/kas-network-proxy/"  # Kamaji's default
IMAGE_USER = 65532  # of our images, and of the reference's
PROBE_TIMEOUT_S = 20
START_TIMEOUT_S = 200.0  # of a container, while those of all tenants start side by side
GRACE_S = 30.0  # of a pod without another number
_LIBRARIES = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/libexec", "usr/local/bin", "usr/local/lib")
_LINKS = ("bin", "sbin", "lib", "lib64")
_ROOT_SCRIPT = """
root=$1; hosts=$2
mount -t tmpfs -o mode=755 none $root
mkdir -p $root/proc $root/dev $root/etc $root/programs
mkdir -m 1777 $root/tmp
mount --rbind /proc $root/proc
mount --rbind /dev $root/dev
for each in {libraries}; do
    [ -d /$each ] || continue
    mkdir -p $root/$each
    mount --bind -o ro /$each $root/$each
done
for each in {links}; do
    if [ -L /$each ]; then
        cp -P /$each $root/
    elif [ -d /$each ]; then
        mkdir $root/$each
        mount --bind -o ro /$each $root/$each
    fi
done
for each in ld.so.cache nsswitch.conf; do [ -e /etc/$each ] && cp /etc/$each $root/etc/; done
touch $root/etc/hosts
mount --bind $hosts $root/etc/hosts
"""


@dataclass(frozen=True)
class Image:
    """Programs of an image by their path, its user, and the files of this machine that the programs need."""

    programs: dict[str, Sequence[str]]
    user: int
    files: tuple[Path, ...]


def image(name: str) -> Image:
    """Return the image with a name: the reference's programs, kube-apiserver, or our programs for other names."""
    program = next(each for each in ("apiserver", "server", "agent") if each in name.rpartition("/")[2])
    if program == "apiserver":
        return Image({"/programs/kube-apiserver": (str(KUBE), "kube-apiserver")}, 0, (KUBE,))
    path = f"/proxy-{program}"
    if name.startswith(REFERENCE_IMAGES):
        file = (BIN / f"reference-{REFERENCE_VERSION}" / path.lstrip("/")).resolve()
        return Image({path: (str(file),)}, IMAGE_USER, (file,))
    python = tuple(dict.fromkeys(Path(each) for each in (sys.base_prefix, str(ROOT)) if each != "/usr"))
    return Image({path: launcher.command(path.lstrip("/"))}, IMAGE_USER, python)


class Pod:
    """Volumes and containers of one pod.

    Args:
        spec: specification of the pod.
        volumes: its volumes.
        directory: folder for roots and logs.
        within: command that runs another one in the pod's network namespace.
        hosts: file of host names.
    """

    def __init__(self, spec: Object, volumes: PodVolumes, directory: Path, within: Sequence[str], hosts: Path) -> None:
        self.spec = spec
        self.volumes = volumes
        self._directory = directory
        self._within = list(within)
        self._hosts = hosts
        self.processes: dict[str, ProgramProcess] = {}  # newest process of each container
        self._started: list[ProgramProcess] = []

    def start(self, name: str, *, waits: bool = True) -> ProgramProcess:
        """Start a container; with `waits`, return when its liveness probe succeeds."""
        found = container(self.spec, name)
        root = self._directory / f"root-{name}-{len(self._started)}"
        root.mkdir(parents=True)
        command = [*found.get("command", []), *found.get("args", [])]
        script = self._script(found, image(found["image"]))
        log = self._directory / f"{name}-{len(self._started)}.log"
        enter = [*self._within, "sh", "-euc", script, "sh", str(root), str(self._hosts)]
        process = ProgramProcess(enter[0], [*enter[1:], *command], log)
        self.processes[name] = process
        self._started.append(process)
        if waits:
            self.wait_for_probe(name)
        return process

    def probe(self, name: str, path: str) -> str:
        """Return the answer of a container's health port."""
        asked = container(self.spec, name)["livenessProbe"]["httpGet"]
        return self._curl(asked["port"], path, "HTTP")

    def end(self) -> None:
        """End all containers at once, as a kubelet does: SIGTERM, and SIGKILL after the grace period."""
        for each in self.processes.values():
            each.send(signal.SIGTERM)
        for each in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                each.wait(GRACE_S)
        self.stop()

    def stop(self) -> None:
        for each in reversed(self._started):
            each.stop()

    def wait_for_probe(self, name: str) -> None:
        """Wait until the liveness probe of a started container succeeds."""
        asked = container(self.spec, name)["livenessProbe"]["httpGet"]
        process = self.processes[name]

        def alive() -> bool:
            assert process.returncode is None, f"{name} ended:\n{process.log[-3000:]}"
            try:
                self._curl(asked["port"], asked["path"], asked.get("scheme", "HTTP"))
            except subprocess.SubprocessError:
                return False
            return True

        until(alive, lambda: f"{name} is alive:\n{process.log[-3000:]}", START_TIMEOUT_S)

    def _curl(self, port: int, path: str, scheme: str) -> str:
        curl = shutil.which("curl") or "curl"
        command = [*self._within, curl, "-ksSf", f"{scheme.lower()}://127.0.0.1:{port}{path}"]
        return subprocess.run(command, check=True, timeout=PROBE_TIMEOUT_S, capture_output=True).stdout.decode()

    def _script(self, found: Object, its: Image) -> str:
        """Return the script that makes the container's root and becomes its program."""
        lines = [_ROOT_SCRIPT.format(libraries=" ".join(_LIBRARIES), links=" ".join(_LINKS)), "shift 2"]
        lines += [_mounted(each, str(each), read_only=True) for each in its.files]
        for path, words in its.programs.items():
            text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
            lines.append(f"printf %s {shlex.quote(text)} > $root{path}; chmod 755 $root{path}")
        # As containerd and CRI-O do: a mount below another one is the later one, whatever the order in the pod.
        for mount in sorted(found.get("volumeMounts", []), key=lambda each: each["mountPath"].count("/")):
            lines.append(_mounted(self.volumes.path(mount), mount["mountPath"], read_only=mount.get("readOnly", False)))
        context = self.spec.get("securityContext", {}) | found.get("securityContext", {})
        if context.get("readOnlyRootFilesystem"):
            lines.append("mount -o remount,ro $root")
        user = context.get("runAsUser", its.user)
        assert user or not context.get("runAsNonRoot"), "container has runAsNonRoot and image will run as root"
        environment = {"PATH": "/programs:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        environment |= {each["name"]: each["value"] for each in found.get("env", [])}
        variables = shlex.join(f"{name}={value}" for name, value in environment.items())
        lines.append(f'exec env -i {variables} setpriv --no-new-privs chroot --userspec={user}:{user} $root "$@"')
        return "\n".join(lines)


def container(spec: Object, name: str) -> Object:
    """Return a container of a pod by its name."""
    return next(each for each in spec["containers"] if each["name"] == name)


def _mounted(source: Path, target: str, *, read_only: bool) -> str:
    """Return shell commands that mount a file or folder at a path of the root."""
    make = f"mkdir -p $root{target}" if source.is_dir() else f"mkdir -p $root{Path(target).parent}; touch $root{target}"
    lock = f"; mount -o remount,ro,bind $root{target}" if read_only else ""
    return f"{make}; mount --bind {source} $root{target}{lock}"
