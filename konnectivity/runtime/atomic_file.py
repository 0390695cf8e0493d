"""Replacement of a file in one step, so that a concurrent reader sees the old or the new content. Owns no file."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644


def write(path: Path, content: bytes, mode: int) -> Path:
    """Write `content` to `path` with `mode`, replacing an existing file and its mode; missing directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return new.replace(path)
