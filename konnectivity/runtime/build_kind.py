"""Kind of this build: whether the hot modules are C extensions ("compiled") or Python files ("pure Python")."""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader

from konnectivity import __version__
from konnectivity.untrusted import numbers

_ONE_OF_THE_COMPILED = numbers  # module that every compiled wheel has as a C extension


def build_kind() -> str:
    """Return "compiled" or "pure Python"."""
    compiled = isinstance(_ONE_OF_THE_COMPILED.__spec__.loader, ExtensionFileLoader)
    return "compiled" if compiled else "pure Python"


def version_line(program: str) -> str:
    """Return the line that `--version` prints."""
    return f"{program} {__version__} ({build_kind()}, Python {sys.version.split()[0]})"
