"""Builds of the programs beside this checkout: another commit, or the compiled wheel in `dist`.

Owns the directories into which they are extracted. Does not start programs.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from konnectivity import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
MISSING = "not run: compiled (`make wheel-compiled` builds it from the sources as they are)"


@contextmanager
def checkout(base: str) -> Iterator[Path]:
    """Extract the files of a commit into a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        archive = subprocess.run(["git", "archive", base], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            sys.exit(f"no commit {base!r} to compare with: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
        yield Path(directory)


def of_checkout(root: Path) -> tuple[str, ...]:
    """Return the command that starts a program of the checkout `root` in place of this checkout's."""
    path = f"PYTHONPATH={root}:{root / 'server'}:{root / 'agent'}"
    return ("env", "PYTHONSAFEPATH=1", path, sys.executable, str(ROOT / "benchmarks" / "other_checkout.py"), str(root))


@contextmanager
def unpacked(wheel: Path) -> Iterator[Path]:
    """Extract the packages of a wheel into a directory that is removed afterwards; compile bytecode."""
    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)
        compileall.compile_dir(directory, quiet=2)
        yield Path(directory)


def of_wheel(root: Path) -> tuple[str, ...]:
    """Return the command that starts a program of an unpacked wheel in place of this checkout's."""
    return ("env", "PYTHONSAFEPATH=1", f"PYTHONPATH={root}")


def compiled_wheel() -> Path | None:
    """Return the compiled wheel in `dist` for this Python, or None if there is none of the sources as they are."""
    return next((each for each in sorted(DIST.glob(f"konnectivity-{__version__}-{TAG}-*.whl")) if _current(each)), None)


def _current(wheel: Path) -> bool:
    """Return whether each module of a wheel equals that of this checkout."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        return all(_source(name).is_file() and _source(name).read_bytes() == archive.read(name) for name in names)


def _source(name: str) -> Path:
    folder = {"konnectivity_server": "server", "konnectivity_agent": "agent"}.get(name.partition("/")[0], "")
    return ROOT / folder / name
