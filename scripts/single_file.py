"""Build dist/konnectivity: all three programs in one file, for hosts without containers. `make zipapp`.

Usage: single_file.py [DIRECTORY]. The packages are those of docker/requirements.txt, each checked against its hash. The
file is for the version of Python that runs this, and for its kind of machine. PREFIX is a virtual environment with
packages and program, which docker/install.sh made; without it one is made. INTERPRETER is where the hosts have that
Python (/usr/bin/python3). Besides the file: a link for each name that it goes by. Times in the file are
SOURCE_DATE_EPOCH, or the first of 1980, so that two builds make the same bytes.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTERPRETER = os.environ.get("INTERPRETER") or "/usr/bin/python3"
NAMES = ("proxy-server", "proxy-agent", "konnectivity-server")  # the last one is k0s' name
_LEFT_OUT = shutil.ignore_patterns(
    *("__pycache__", "*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "*.virtualenv", "*.pth"),
    *("RECORD", "direct_url.json"),  # pip's notes on the scratch directory that it installed into
)
_FIRST_TIME = 315_532_800  # seconds since 1970 of the earliest time that a zip file can hold
_MAIN = """\
import os
import sys

archive = os.path.abspath(sys.path[0])
if os.path.isdir("/proc/self/fd"):  # so that modules come from this file still when an upgrade has replaced it
    sys.path[0] = f"/proc/self/fd/{{os.open(archive, os.O_RDONLY)}}"
from konnectivity.runtime.zip_archive import main

main(archive, sys.path[0], {compiled!r}, {python!r}, {machine!r})
"""


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        prefix, tree = Path(os.environ.get("PREFIX") or Path(scratch, "prefix")), Path(scratch, "tree")
        if not prefix.exists():
            _install(prefix)
        library = sysconfig.get_path("purelib", "venv", {"base": str(prefix), "platbase": str(prefix)})
        shutil.copytree(library, tree, ignore=_LEFT_OUT)
        _compile(tree)
        compiled = sorted(str(each.relative_to(tree)) for each in tree.rglob("*.so"))
        text = _MAIN.format(compiled=tuple(compiled), python=sys.version_info[:2], machine=os.uname().machine)
        (tree / "__main__.py").write_text(text)
        made = Path(scratch, "konnectivity")
        _archive(tree, made)
        shutil.move(made, directory / made.name)
    for name in NAMES:
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to("konnectivity")
    print(f"{directory / 'konnectivity'}: {(directory / 'konnectivity').stat().st_size / 1e6:.0f} MB")


def _install(prefix: Path) -> None:
    """Make a virtual environment of the packages and the program."""
    # No OpenSSL is part of the file: the Python that starts it brings its own.
    environment = {**os.environ, "PYTHON": sys.executable, "PIP_QUIET": "1", "OLDER_OPENSSL": "older"}
    steps: tuple[tuple[str | Path, ...], ...] = (("packages", prefix), ("program", prefix, ROOT))
    for step in steps:
        subprocess.run(["sh", ROOT / "docker/install.sh", *step], env=environment, check=True)


def _archive(tree: Path, made: Path) -> None:
    """Write an executable zip file of `tree`, whose bytes depend on names and contents only."""
    when = time.gmtime(max(_FIRST_TIME, int(os.environ.get("SOURCE_DATE_EPOCH", _FIRST_TIME))))
    with made.open("wb") as file:
        file.write(f"#!{INTERPRETER} -IB\n".encode())
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for each in sorted(tree.rglob("*")):  # directories, too: zipimport finds namespace packages by them
                entry = zipfile.ZipInfo(str(each.relative_to(tree)) + "/" * each.is_dir(), when[:6])
                entry.external_attr = (0o40755 if each.is_dir() else 0o100644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, b"" if each.is_dir() else each.read_bytes())
    made.chmod(0o755)


def _compile(tree: Path) -> None:
    """Compile beside the sources, which tracebacks show; the compiled files are never compared with them."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(tree, quiet=1, legacy=True, stripdir=str(tree), invalidation_mode=mode):
        sys.exit("cannot compile what was installed")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist")
