"""Lists of what an image is made of: Debian's package list for scanners, and a list of parts in CycloneDX' format.

Knows the files that were copied from the build stage, and looks up the packages of Debian that they belong to.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

STATUS = "var/lib/dpkg/status.d"  # a file for each package, as in other images without a package manager
PARTS = "usr/share/konnectivity/image.cdx.json"


def write_lists(root: Path, files: Iterable[Path], library: Path, version: str) -> None:
    """Write both lists into the root of an image.

    Args:
        root: root of the image.
        files: files of the build stage that were copied.
        library: directory of the packages of pip.
        version: version of the program.

    """
    packages = [_stanza(name) for name in sorted(_owners(files))]
    (root / STATUS).mkdir(parents=True)
    for each in packages:
        (root / STATUS / _field(each, "Package")).write_text(each)
    parts = [*map(_debian_part, packages), *_python_parts(library)]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "konnectivity", "version": version}},
        "components": sorted(parts, key=lambda part: part["purl"]),
    }
    (root / PARTS).parent.mkdir(parents=True)
    (root / PARTS).write_text(json.dumps(document, indent=1) + "\n")


def _owners(files: Iterable[Path]) -> set[str]:
    """Return the Debian packages that the files belong to; files of no package, such as a built Python, have none."""
    paths = {str(path) for each in files for path in (each, each.resolve())}
    # Packages from before /usr was merged own /lib/..., and the linker names either.
    paths |= {path.removeprefix("/usr") for path in paths if path.startswith("/usr/lib")}
    paths |= {f"/usr{path}" for path in paths if path.startswith("/lib")}
    found = subprocess.run(["dpkg", "-S", *sorted(paths)], capture_output=True, text=True, check=False).stdout
    lines = [line for line in found.splitlines() if not line.startswith("diversion by ")]
    return {name for line in lines for name in line.partition(": ")[0].split(", ")}


def _stanza(name: str) -> str:
    return subprocess.run(["dpkg-query", "--status", name], capture_output=True, text=True, check=True).stdout


def _field(stanza: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", stanza, re.MULTILINE)
    return found[1] if found else ""


def _debian_part(stanza: str) -> dict[str, str]:
    name, version = _field(stanza, "Package"), _field(stanza, "Version")
    release = platform.freedesktop_os_release()
    query = f"arch={_field(stanza, 'Architecture')}&distro={release['ID']}-{release['VERSION_ID']}"
    purl = f"pkg:deb/{release['ID']}/{name}@{version.replace('+', '%2B')}?{query}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _python_parts(library: Path) -> Iterable[dict[str, str]]:
    """Yield Python itself and the packages of pip."""
    yield _part("application", "python", platform.python_version(), "pkg:generic/python")
    for each in distributions(path=[str(library)]):
        name = re.sub(r"[-_.]+", "-", each.name).lower()
        yield _part("library", name, each.version, f"pkg:pypi/{name}")


def _part(kind: str, name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": kind, "name": name, "version": version, "purl": f"{purl}@{version}", "bom-ref": f"{purl}@{version}"}
