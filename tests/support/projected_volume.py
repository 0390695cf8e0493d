"""Volume of Secrets in a pod, as a kubelet keeps it: files are links, and one rename replaces all of them."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class ProjectedVolume:
    """Directory with the files of several Secrets.

    Args:
        directory: directory that the pod mounts.

    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._versions = itertools.count(1)
        directory.mkdir()

    def update(self, secrets: Iterable[Mapping[str, Any]]) -> None:
        """Replace all files by those of some Secrets, in one step."""
        files = {name: base64.b64decode(text) for each in secrets for name, text in (each.get("data") or {}).items()}
        version = self.directory / f"..version_{next(self._versions)}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
        data, new = self.directory / "..data", self.directory / "..data_tmp"
        before = data.resolve() if data.is_symlink() else None
        new.symlink_to(version.name)
        os.replace(new, data)
        for each in list(self.directory.iterdir()):
            if not each.name.startswith("..") and each.name not in files:
                each.unlink()
        for name in files:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        if before is not None:
            shutil.rmtree(before)
