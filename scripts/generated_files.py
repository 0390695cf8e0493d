"""Files of the repository that a script generates."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def write_or_check(texts: Mapping[Path, str]) -> int:
    """Write the files that have another text; with the argument --check, only name these on standard error.

    Returns:
        The exit code of the script: 1 if --check found a file with another text, else 0.

    """
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(texts[path])
    return 0
