"""Archive of images in docker's format, which `ctr images import` reads, made of directories with the images' files."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from konnectivity import __version__
from support.container_engine import DOCKERFILE, USER

BUSYBOX = "test.local/busybox:1"
PAUSE = "test.local/pause:1"
METRICS_SERVER = "test.local/metrics-server:1"
BUSYBOX_FILE = "/bin/busybox"
TAR_TIMEOUT_S = 120.0
_FOLDERS = {  # folders of an image with busybox, with their modes
    **dict.fromkeys(("bin", "dev", "etc", "proc", "root", "sys", "usr/local/bin", "var"), 0o755),
    "tmp": 0o1777,
}
_ACCOUNTS = {"etc/group": "root:x:0:\n", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"}


@dataclass(frozen=True)
class Image:
    """Image of one layer: its name, the directory with its files, and its configuration."""

    name: str
    root: Path
    config: dict[str, object]


class ImageArchive:
    """Archive that is being written. Images whose files are in the same directory share its layer."""

    def __init__(self, path: Path) -> None:
        self._scratch = path.with_suffix(".layer")
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - `close` closes it
        self._digests: dict[Path, str] = {}  # digest of a directory's layer
        self._manifest: list[dict[str, object]] = []

    def add(self, image: Image) -> None:
        """Add an image, with its layer if no earlier image has the same directory."""
        if image.root not in self._digests:
            self._digests[image.root] = self._add_layer(image.root)
        digest = self._digests[image.root]
        layers = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
        config = _as_json({"architecture": "amd64", "os": "linux", "config": image.config, "rootfs": layers})
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        self._add_bytes(name, config)
        self._manifest.append({"Config": name, "RepoTags": [image.name], "Layers": [_layer_name(digest)]})

    def close(self) -> None:
        """Add the list of images, which makes the archive complete."""
        self._add_bytes("manifest.json", _as_json(self._manifest))
        self._tar.close()

    def _add_layer(self, root: Path) -> str:
        command = ["tar", "--numeric-owner", "-C", str(root), "-cf", str(self._scratch), "."]
        subprocess.run(command, check=True, timeout=TAR_TIMEOUT_S)
        with self._scratch.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._tar.add(self._scratch, _layer_name(digest))
        self._scratch.unlink()
        return digest

    def _add_bytes(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))


def write(path: Path, images: Iterable[Image]) -> None:
    """Write an archive with these images."""
    with closing(ImageArchive(path)) as archive:
        for image in images:
            archive.add(image)


def _layer_name(digest: str) -> str:
    return f"{digest}/layer.tar"


def _as_json(content: object) -> bytes:
    return json.dumps(content).encode()


def product_images(root: Path) -> list[Image]:
    """Return the images of server and agent, whose files the Dockerfile's build stage has left in `root`."""
    user = re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert user[1] == f"{USER}:{USER}"
    common = {"User": user[1], "WorkingDir": "/", "Env": ["LANG=C.UTF-8", "PATH=/usr/bin"]}
    return [
        Image(f"localhost/konnectivity/{name}:{__version__}", root, {**common, "Entrypoint": [f"/{name}"]})
        for name in ("proxy-server", "proxy-agent")
    ]


def metrics_server_image(root: Path, program: Path) -> Image:
    """Return an image whose only file is the static program of the metrics server."""
    root.mkdir()
    shutil.copy2(program, root)
    return Image(METRICS_SERVER, root, {"Entrypoint": [f"/{program.name}"], "WorkingDir": "/"})


def small_images(root: Path, program: Path) -> list[Image]:
    """Return an image of busybox with the libraries that `program` needs, and the image of a pod's sandbox."""
    for name, mode in _FOLDERS.items():
        folder = root / name
        folder.mkdir(parents=True)
        folder.chmod(mode)
    for name, line in _ACCOUNTS.items():
        (root / name).write_text(line)
    _add_busybox(root / "bin")
    _add_libraries(root, program)
    config = {"Env": ["PATH=/usr/local/bin:/bin"], "WorkingDir": "/"}
    return [
        Image(BUSYBOX, root, {**config, "Cmd": ["sh"]}),
        Image(PAUSE, root, {**config, "Entrypoint": ["/bin/sleep", "1000000000"]}),
    ]


def _add_busybox(folder: Path) -> None:
    """Copy busybox into a folder, with a link for each of its programs."""
    listed = subprocess.run([BUSYBOX_FILE, "--list"], capture_output=True, text=True, check=True, timeout=10)
    shutil.copy2(BUSYBOX_FILE, folder)
    for name in set(listed.stdout.split()) - {"busybox"}:
        (folder / name).symlink_to("busybox")


def _add_libraries(root: Path, program: Path) -> None:
    """Copy the shared libraries of a program to their paths below a root; a static program has none."""
    found = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=10).stdout
    for library in re.findall(r"(/\S+) \(0x", found):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
