"""The file that a command writes: a new one, unless replacing was asked for."""

from __future__ import annotations

from pathlib import Path

from konnectivity import atomic_file


def write(path: Path, text: str, mode: int, replace: bool) -> None:
    """
    Raises:
        ValueError: the file exists, or cannot be written.
    """
    if path.exists() and not replace:
        raise ValueError(f"nothing was written: {path} exists; --force replaces it")
    try:
        atomic_file.write(path, text.encode(), mode)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
