"""Rights of temporary directories, which pytest keeps from all users but its own."""

from __future__ import annotations

import tempfile
from pathlib import Path


def let_others_enter(directory: Path) -> None:
    """Let every user enter a directory and its parents below the system's directory for temporary files."""
    top = Path(tempfile.gettempdir())
    for each in (directory, *directory.parents):
        if each == top or top not in each.parents:
            return
        each.chmod(0o755)
