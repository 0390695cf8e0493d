"""Packages of docker/requirements*.txt with their versions and hashes."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.checkout import ROOT


def pinned(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Return the requirement and the hashes of each package in a file of docker/, by the package's name."""
    text = (ROOT / "docker" / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            made = Requirement(requirement.strip())
            found[canonicalize_name(made.name)] = (made, [each.strip() for each in hashes])
    return found
