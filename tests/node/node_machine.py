"""Node of a cluster on this machine. Owns its namespaces, cgroups and files, and the processes in them.

A node needs root, and cgroups of version 1 or 2. Outside of its directory it makes two things, which carry its name and
are removed with it: a network namespace and one cgroup in each hierarchy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "konnectivity-node"
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
UNIFIED_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")  # those without which a kubelet refuses version 2
COMMAND_TIMEOUT_S = 30.0
START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 20.0

# The shell enters the node's cgroups, which become the roots of a cgroup namespace. In version 2 it then enters a
# child, since a cgroup with processes has no children with controllers. It becomes the parent of process 1, which dies
# with it.
_START = """
network=$2
for each in $4; do
    if [ "$each" = unified ]; then cgroup=/sys/fs/cgroup/$network; else cgroup=/sys/fs/cgroup/$each/$network; fi
    echo $$ >"$cgroup/cgroup.procs"
done
exec unshare --cgroup sh -euc "$5" sh "$@"
"""
_START_WITHIN = """
directory=$1 network=$2 init=$3 hierarchies=$4
if [ "$hierarchies" = unified ]; then
    mkdir -p "/sys/fs/cgroup/$network/init"
    echo $$ >"/sys/fs/cgroup/$network/init/cgroup.procs"
fi
exec ip netns exec "$network" \\
    unshare --mount --pid --fork --mount-proc --kill-child sh "$init" "$directory" $hierarchies
"""


def hierarchies() -> tuple[str, ...]:
    """Return the cgroup hierarchies of this machine that a node uses; `unified` is version 2."""
    return ("unified",) if (CGROUPS / "cgroup.controllers").exists() else CONTROLLERS


class NodeMachine:
    """Node with a network namespace of its own. The scripts in its folder `services` start with the node.

    Args:
        name: name of the node.
        directory: folder for the node's files; its folder `own` has the node's /etc, /var/lib and /var/log.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.label = f"{PREFIX}-{name}-{os.getpid()}"
        self._parent: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make the node's files and network."""
        for each in ("services", "logs", "own/var/lib", "own/var/log"):
            (self.directory / each).mkdir(parents=True)
        command("cp", "-a", "/etc", str(self.directory / "own"))
        for each in ("cni", "kubernetes"):
            shutil.rmtree(self.path(f"/etc/{each}"), ignore_errors=True)
        self.path("/etc/resolv.conf").unlink(missing_ok=True)
        self.path("/etc/resolv.conf").write_text("")
        command("ip", "netns", "add", self.label)
        self.ip("link", "set", "lo", "up")

    def path(self, name: str) -> Path:
        """Return the path on this machine of a file that the node has below /etc, /var/lib or /var/log."""
        return self.directory / "own" / name.lstrip("/")

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> None:
        """Replace one of the node's files in a single step, so that a kubelet never reads half of a manifest."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.directory / "scratch"
        scratch.write_bytes(content if isinstance(content, bytes) else content.encode())
        scratch.chmod(mode)
        scratch.replace(path)

    def ip(self, *arguments: str) -> None:
        """Run `ip` in the node's network."""
        command("ip", "-n", self.label, *arguments)

    def start(self) -> None:
        """Make the node's cgroups and start process 1 with the services."""
        _make_cgroups(self.label)
        log = self.directory / "logs/init.log"
        init = str(Path(__file__).parent / "node_init.sh")
        arguments = [str(self.directory), self.label, init, " ".join(hierarchies()), _START_WITHIN]
        with log.open("wb") as output:
            self._parent = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-euc", _START, "sh", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + START_TIMEOUT_S
        while "started" not in log.read_text():
            if self._parent.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"node {self.name} does not start: {log.read_text()}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Return the id of the node's process 1 on this machine."""
        assert self._parent is not None
        return int(Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text().split()[0])

    def within(self, *words: str) -> list[str]:
        """Return a command that runs in all of the node's namespaces."""
        return ["nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--cgroup", "--", *words]

    def in_network(self, *words: str) -> list[str]:
        """Return a command that becomes a program in the node's network, so that signals reach the program."""
        return ["nsenter", f"--net=/run/netns/{self.label}", "--", *words]

    def run(self, *words: str) -> str:
        """Run a command in the node and return its output."""
        return command(*self.within(*words))

    def processes(self, program: str) -> list[int]:
        """Return the ids, on this machine, of the node's processes with `program` among their first words."""
        found = []
        for each in Path("/proc").iterdir():
            with suppress(OSError, IndexError):
                if each.name.isdigit() and self.label in (each / "cgroup").read_text():
                    words = (each / "cmdline").read_bytes().split(b"\0")
                    if any(word.decode(errors="replace").endswith(program) for word in words[:4]):
                        found.append(int(each.name))
        return sorted(found)

    def memory(self, pid: int) -> tuple[int, int, int]:
        """Return numbers of a process's cgroup: anonymous bytes, the limit in bytes, and kills for lack of memory."""
        text = Path(f"/proc/{pid}/cgroup").read_text()
        if hierarchies() == ("unified",):
            group = CGROUPS / text.rpartition("::/")[2].strip()
            used, limit, events = "memory.stat:anon", "memory.max", "memory.events:oom_kill"
        else:
            found = re.search(r"^\d+:memory:/(.*)$", text, re.MULTILINE)
            assert found is not None
            group = CGROUPS / "memory" / found[1]
            used, limit, events = "memory.stat:rss", "memory.limit_in_bytes", "memory.oom_control:oom_kill"
        return _number(group, used), _number(group, limit), _number(group, events)

    def stop(self) -> None:
        """End all processes of the node at once, as a loss of power does."""
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait(END_TIMEOUT_S)
            self._parent = None
        _remove_cgroups(self.label)

    def remove(self) -> None:
        """End all processes of the node, and remove its network and its cgroups. Mounts end with the processes."""
        self.stop()
        remove_label(self.label)
        command("rm", "-rf", str(self.directory))  # faster than Python by half, for tens of thousands of files


def _make_cgroups(label: str) -> None:
    """Make the top cgroups of a node, with all that this machine has."""
    if hierarchies() == ("unified",):
        _pass_controllers_on()
    for cgroup in cgroups(label):
        cgroup.mkdir()
        if cgroup.parent.name == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (cgroup / file).write_text((cgroup.parent / file).read_text())


def _pass_controllers_on() -> None:
    """Let the children of this machine's top cgroup of version 2 have the controllers that a kubelet needs.

    Raises:
        RuntimeError: this machine, which may be a container, does not have all of them.
    """
    missing = set(UNIFIED_CONTROLLERS) - set((CGROUPS / "cgroup.controllers").read_text().split())
    if missing:
        raise RuntimeError(
            f"{CGROUPS} lacks the controllers {sorted(missing)}, which a kubelet needs: pass them on to it"
        )
    missing = set(UNIFIED_CONTROLLERS) - set((CGROUPS / "cgroup.subtree_control").read_text().split())
    for each in sorted(missing):
        (CGROUPS / "cgroup.subtree_control").write_text(f"+{each}")


def cgroups(label: str) -> list[Path]:
    """Return the top cgroups of a node, one in each hierarchy."""
    if hierarchies() == ("unified",):
        return [CGROUPS / label]
    return [CGROUPS / each / label for each in CONTROLLERS]


def remove_label(label: str) -> None:
    """Remove the network and the cgroups of a node whose processes are ending."""
    _remove_cgroups(label)
    if Path(f"/run/netns/{label}").exists():
        command("ip", "netns", "delete", label)


def _remove_cgroups(label: str) -> None:
    """Remove the cgroups of a node whose processes are ending.

    Raises:
        RuntimeError: a cgroup is still in use after END_TIMEOUT_S.
    """
    end = time.monotonic() + END_TIMEOUT_S
    while left := [each for each in cgroups(label) if each.exists()]:
        for top in left:
            for each in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with suppress(OSError):  # it has processes that are ending
                    each.rmdir()
            with suppress(OSError):
                top.rmdir()
        if time.monotonic() > end:
            raise RuntimeError(f"cgroups are left: {left}")
        time.sleep(0.1)


def remove_left_behind() -> None:
    """Remove the networks and cgroups that a killed test run has left; the processes of its nodes died with the run."""
    names = {each.name for each in Path("/run/netns").glob(f"{PREFIX}-*")}
    names |= {each.name for top in cgroups(PREFIX) for each in top.parent.glob(f"{PREFIX}-*")}
    for name in names:
        if not Path(f"/proc/{name.rpartition('-')[2]}").exists():
            remove_label(name)


def _number(group: Path, what: str) -> int:
    """Return the number in a file of a cgroup, or the number after a key: `file:key`."""
    file, _, key = what.partition(":")
    text = (group / file).read_text()
    found = re.search(rf"^{key} (\d+)$" if key else r"^(\d+)$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


def command(*words: str) -> str:
    """Run a command on this machine and return its output."""
    done = subprocess.run(words, capture_output=True, timeout=COMMAND_TIMEOUT_S)
    assert done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}: {done.stderr.decode()[-2000:]}"
    return done.stdout.decode()
