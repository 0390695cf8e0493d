"""Root file system of an image: Python, its libraries, PREFIX, CA certificates, lists of parts. No shell.

LINKS becomes a tree with nothing but the names by which the programs are called, for
an image that has a root file system already. Runs in the build stage, on the machine's own Python and C library.
Two runs make the same bytes: times are SOURCE_DATE_EPOCH, or 1970.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from image_parts import write_lists

USER = 65532
_UNUSED = ("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages")
_NAMES = ("usr/bin/proxy-server", "usr/bin/proxy-agent", "usr/bin/konnectivity")
_FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/nologin\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def main(prefix: Path, root: Path, links: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):  # as on the machine: links into usr
        if (Path("/") / name).is_symlink():
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
    executables = list(_interpreters(prefix / "bin/python3"))
    library = Path(sysconfig.get_path("stdlib"))
    for each in (*executables, prefix, library, Path("/usr/lib/ssl"), Path("/etc/os-release")):
        _copy(each, root)
    _copy(Path("/etc/ssl/certs"), root, follow=True)  # links to /usr/share, which stays behind
    libraries = _shared_libraries([executables[-1], *prefix.rglob("*.so*"), *library.rglob("*.so*")])
    for each in libraries:
        _copy(each, root, follow=True)
    _copy(Path("/etc/ld.so.cache"), root)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    _directories(root)
    _link(prefix, root)
    _link(prefix, links)
    for name in ("proxy-server", "proxy-agent"):
        (root / name).symlink_to(f"usr/bin/{name}")
        (links / name).symlink_to(f"usr/bin/{name}")
    _compile([root / prefix.relative_to("/"), root / library.relative_to("/")], root)
    packages = next(prefix.glob("lib/python3*/site-packages"))
    version = next(packages.glob("konnectivity-*.dist-info")).name.split("-")[1].removesuffix(".dist")
    owned = [*libraries, executables[-1], library / "os.py", Path("/usr/sbin/update-ca-certificates")]
    write_lists(root, owned, packages, version)
    _same_times(root, links)


def _interpreters(python: Path) -> Iterator[Path]:
    """Return every link from the virtual environment's `python3` to the program, which is last."""
    while python.is_symlink():
        python = python.parent.resolve() / python.readlink()
        yield python


def _shared_libraries(programs: list[Path]) -> set[Path]:
    """Return the files that the dynamic linker loads for the programs, the linker included."""
    found = set()
    for each in programs:
        ran = subprocess.run(
            ["ldd", each], capture_output=True, text=True, check=False
        )  # fails for what is no ELF file
        if missing := re.findall(r"(\S+) => not found", ran.stdout):
            sys.exit(f"{each} needs {', '.join(missing)}, which is not on this machine")
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", ran.stdout)}
    return found


def _copy(path: Path, root: Path, *, follow: bool = False) -> None:
    """Copy a file, link or tree to the same place under `root`."""
    target = root / path.parent.resolve().relative_to("/") / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        unused = shutil.ignore_patterns("__pycache__", "*.a", "config-*", *_UNUSED)
        ignore = unused if path.name.startswith("python3") else shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, target, symlinks=not follow, ignore=ignore, ignore_dangling_symlinks=True)
    elif not os.path.lexists(target):
        shutil.copy2(path, target, follow_symlinks=follow)


def _directories(root: Path) -> None:
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for name in ("proc", "sys", "dev", "root"):
        (root / name).mkdir()
    for name in ("run/konnectivity", "etc/konnectivity"):  # an empty volume mounted here is the user's
        (root / name).mkdir(parents=True)
        os.chown(root / name, USER, USER)


def _link(prefix: Path, root: Path) -> None:
    for name in _NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(prefix / "bin" / Path(name).name)


def _same_times(*roots: Path) -> None:
    """Give every file the time of the build's commit."""
    time = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    for root in roots:
        for each in (root, *root.rglob("*")):
            os.utime(each, (time, time), follow_symlinks=False)


def _compile(trees: list[Path], root: Path) -> None:
    """Compile the modules now, since the programs cannot write, and without later checks, since files do not change."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for each in trees:
        if not compileall.compile_dir(
            each, quiet=1, workers=0, stripdir=str(root), prependdir="/", invalidation_mode=mode
        ):
            sys.exit(f"cannot compile {each}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("prefix", "root", "links"):
        parser.add_argument(name, type=Path)
    main(**vars(parser.parse_args()))
