"""Minimal container engine: builds the image by the Dockerfile's steps in a Debian root, and runs programs in its root.

It uses the kernel's namespaces through util-linux, and does not read compose.yaml.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.checkout import ROOT

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
SUITE = "trixie"  # as in the Dockerfile's PYTHON_IMAGE
PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "forky": "3.14"}  # of Debian 12, 13 and the coming 14
PYTHON = PYTHONS[SUITE]
PACKAGES = "python3-venv,ca-certificates,curl"  # what the image needs, and what the quickstart asks for
USER = 65532
BUILT = ("opt/konnectivity", "links")  # what the build adds to its Debian, beside the image


def run(*command: str | Path, **more: object) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **more)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


def lacking() -> str | None:
    """Return the reason why this machine cannot build an image, or None."""
    if os.geteuid():
        return "root is needed, to make namespaces"
    missing = [name for name in ("debootstrap", "unshare", "nsenter", "setpriv", "ip") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is missing: apt-get install debootstrap util-linux iproute2"
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], check=False).returncode:
        return "namespaces cannot be made here"
    return None


def build_product(directory: Path) -> tuple[Path, Path]:
    """Build the product's image in a directory; return the image's root and a root with a shell."""
    cache = ROOT / ".cache/docker"
    cache.mkdir(parents=True, exist_ok=True)
    lists = [ROOT / "docker/requirements.txt", ROOT / "docker/requirements-build.txt"]
    packages = wheels(cache, lists, [sys.executable, "-m", "pip"])
    source = copy_sources(directory / "src")
    return build(debian(cache), packages, source, _build_steps(), directory)


def copy_sources(target: Path) -> Path:
    """Copy the files of the Dockerfile's build stage, check that .dockerignore admits them, and return `target`."""
    shutil.rmtree(target, ignore_errors=True)
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for line in re.findall(r"^COPY ((?!--)[^/\n].*)$", DOCKERFILE.partition("FROM scratch")[0], re.MULTILINE):
        *names, into = line.split()
        for name in names:
            assert name.split("/")[0] in allowed
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (target / into).mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / into)
    return target


def _build_steps() -> list[str]:
    """Return the commands of the Dockerfile's build stage."""
    text = DOCKERFILE.replace("\\\n", "")
    return re.findall(r"^RUN (.*)$", text.partition("FROM scratch")[0], re.MULTILINE)


def debian(cache: Path, suite: str = SUITE) -> Path:
    """Return a tar file of a minimal Debian with PACKAGES, which is made once."""
    archive = cache / f"{suite},{PACKAGES}.tar"
    if not archive.exists():
        root = cache / f"{suite}.{os.getpid()}"
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root)
        run("tar", "-C", root, "-cf", f"{archive}.{os.getpid()}", "--exclude=./var/cache/apt", "--exclude=./dev/*", ".")
        shutil.rmtree(root)
        Path(f"{archive}.{os.getpid()}").rename(archive)
    return archive


def wheels(cache: Path, requirements: list[Path], pip: list[str], python: str = PYTHON) -> Path:
    """Download the packages of the requirements for a version of Python, checked against their hashes."""
    directory = cache / "wheels"
    for each in requirements:
        done = directory / f"{each.name}.{hash_of(each)}.{python}"
        if not done.exists():
            wanted = ("--require-hashes", "--only-binary=:all:", f"--python-version={python}")
            run(*pip, "download", "--quiet", *wanted, "--dest", directory, "-r", each)
            done.touch()
    return directory


def hash_of(path: Path) -> str:
    return run("sha256sum", path)[:16]


def build(archive: Path, wheels: Path, source: Path, steps: list[str], directory: Path) -> tuple[Path, Path]:
    """Run the Dockerfile's build steps without network; return the image's root and a root with a shell."""
    root = unpack(archive, directory / "build")
    for name in ("src", "wheels"):
        (root / name).mkdir()
    script = f"""
        mount --bind -o ro {source} {root}/src
        mount --bind -o ro {wheels} {root}/wheels
        mount --bind /dev {root}/dev
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_CERT=
        exec chroot {root} sh -euc 'cd /src; {" && ".join(steps)}'
    """
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script)
    image = directory / "image"
    (root / "image").rename(image)
    return finish(root, image)


def unpack(archive: Path, root: Path) -> Path:
    """Unpack a tar file of Debian into a new root, and return the root."""
    root.mkdir()
    run("tar", "-C", root, "-xf", archive)
    return root


def finish(root: Path, image: Path) -> tuple[Path, Path]:
    """Put the programs' links into a root that has BUILT; return the image's root and the root with a shell."""
    shutil.copytree(root / "links", root, symlinks=True, dirs_exist_ok=True)
    return image, root


class Host:
    """Network with nothing but loopback, and the containers that run in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--kill-child", "--fork", "sh", "-euc", "ip link set lo up; echo up; exec sleep 600"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout.readline() == "up\n"
        self._children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.network = self._children.read_text().split()[0]
        self.containers: list[Container] = []

    def start(self, image: Path, name: str, command: list[str], volumes: dict[str, Path]) -> Container:
        container = Container(self, image, name, command, volumes)
        self.containers.append(container)
        return container

    def close(self) -> None:
        for each in self.containers:
            each.kill()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


class Container:
    """One program as process 1, as user 65532 without capabilities, on a read-only root.

    Args:
        volumes: path in the container -> directory or file; a path that ends with ":ro" is read-only.
    """

    def __init__(self, host: Host, image: Path, name: str, command: list[str], volumes: dict[str, Path]) -> None:
        root = host.directory / f"{name}.root"
        root.mkdir()
        mounts = [f"mount --bind {image} {root}", f"mount --bind -o ro {host.directory}/hosts {root}/etc/hosts"]
        (image / "etc/hosts").touch()
        for target, source in volumes.items():
            path, _, flag = target.partition(":")
            _mount_point(image / path.lstrip("/"), source)
            mounts.append(f"mount --bind {'-o ro' if flag else ''} {source} {root}{path}")
        script = f"""
            {"; ".join(mounts)}
            mount -o remount,ro,bind {root}
            mount -t proc proc {root}/proc
            exec setpriv --no-new-privs chroot --userspec={USER}:{USER} {root} "$@"
        """
        self.log_path = host.directory / f"{name}.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/proc/{host.network}/ns/net"),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                    *("sh", "-euc", script, "sh", *command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Return the program's process id outside of the container."""
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])

    def wait_for(self, text: str, timeout_s: float = 30) -> None:
        end = time.monotonic() + timeout_s
        while text not in self.log:
            ended = self._process.poll() is not None or time.monotonic() > end
            assert not ended, f"no {text!r}:\n{self.log[-3000:]}"
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = 60) -> int:
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """Kill the program and its launcher: a program that has changed its user is not killed with its parent."""
        with contextlib.suppress(OSError, IndexError):  # the program has ended already
            os.kill(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


def _mount_point(path: Path, source: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        path.mkdir(exist_ok=True)
    else:
        path.touch()
