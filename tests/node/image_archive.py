"""Archive of images in docker's format, as `ctr images import` reads it, from directories with the images' files."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from konnectivity import __version__
from support.container_engine import DOCKERFILE, USER

BUSYBOX = "test.local/busybox:1"
PAUSE = "test.local/pause:1"
TAR_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Image:
    """Image of one layer: its name, the directory with its files, and its configuration."""

    name: str
    root: Path
    config: dict[str, object]


def write(archive: Path, images: list[Image]) -> None:
    """Write images to an archive; images with the same directory share its layer."""
    layers: dict[Path, str] = {}
    manifest = []
    with tarfile.open(archive, "w") as tar:
        for image in images:
            if image.root not in layers:
                layers[image.root] = _add_layer(tar, image.root, archive.with_suffix(".layer"))
            digest = layers[image.root]
            rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
            config = {"architecture": "amd64", "os": "linux", "config": image.config, "rootfs": rootfs}
            text = json.dumps(config).encode()
            name = f"{hashlib.sha256(text).hexdigest()}.json"
            _add(tar, name, text)
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": [f"{digest}/layer.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _add_layer(tar: tarfile.TarFile, root: Path, scratch: Path) -> str:
    command = ["tar", "--numeric-owner", "-C", str(root), "-cf", str(scratch), "."]
    subprocess.run(command, check=True, timeout=TAR_TIMEOUT_S)
    with scratch.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    tar.add(scratch, f"{digest}/layer.tar")
    scratch.unlink()
    return digest


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(data)
    tar.addfile(head, io.BytesIO(data))


def product_images(root: Path) -> list[Image]:
    """Return the images of server and agent; `root` has the files that the Dockerfile's build stage made."""
    user = re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert user[1] == f"{USER}:{USER}"
    common = {"User": user[1], "WorkingDir": "/", "Env": ["LANG=C.UTF-8", "PATH=/usr/bin"]}
    return [
        Image(f"docker.io/konnectivity/{name}:{__version__}", root, {**common, "Entrypoint": [f"/{name}"]})
        for name in ("proxy-server", "proxy-agent")
    ]


def small_images(root: Path, program: Path) -> list[Image]:
    """Return an image with a shell, its tools and the libraries of `program`, and one whose process only waits."""
    for each in ("bin", "tmp", "etc", "proc", "sys", "dev", "root", "var", "usr/local/bin"):
        (root / each).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True, timeout=10)
    for applet in applets.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    libraries = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=10)
    for library in re.findall(r"(/\S+) \(0x", libraries.stdout):
        path = root / library.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, path)
    config = {"Env": ["PATH=/usr/local/bin:/bin"], "WorkingDir": "/"}
    return [
        Image(BUSYBOX, root, {**config, "Cmd": ["sh"]}),
        Image(PAUSE, root, {**config, "Entrypoint": ["/bin/sleep", "1000000000"]}),
    ]
