"""Output file of a command: created, and replaced only on request."""

from __future__ import annotations

import os
from pathlib import Path

from konnectivity.runtime import atomic_file


def write(path: Path, text: str, mode: int, replace: bool) -> None:
    """Write `text` to `path`, with permissions `mode`.

    Raises:
        ValueError: the file exists, its directory does not exist, or the file cannot be written.

    """
    if not os.path.isdir(path.parent):
        raise ValueError(f"cannot write {path}: there is no directory {path.parent}; make it, or correct the path")
    if os.path.exists(path) and not replace:
        raise ValueError(f"nothing was written: {path} exists; --force replaces it")
    try:
        atomic_file.write(path, text.encode(), mode)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
