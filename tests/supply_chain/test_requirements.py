"""Tests of docker/requirements*.txt: every package of images and single file is listed with its hashes. Off line.

That pip accepts the lists with --require-hashes is tested where they are installed: by tests/docker, by
tests/single_file, and by the list of parts (test_release.py).
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.checkout import ROOT
from support.pinned_packages import pinned

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


PROGRAM, BUILD = pinned("requirements.txt"), pinned("requirements-build.txt")
COMPILE = pinned("requirements-compile.txt")
COMPILERS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["dependencies"]
WANTED = [
    *((PROGRAM, each) for each in PROJECT["project"]["dependencies"]),
    *((BUILD, each) for each in PROJECT["build-system"]["requires"]),
    *((COMPILE, each) for each in COMPILERS),
]


@pytest.mark.parametrize(("lists", "text"), WANTED, ids=[each[1] for each in WANTED])
def test_each_dependency_has_a_version_that_will_do(lists, text):
    wanted = Requirement(text)
    line, _ = lists[canonicalize_name(wanted.name)]
    (version,) = line.specifier
    assert version.operator == "=="
    assert wanted.specifier.contains(version.version)


@pytest.mark.parametrize("lists", [PROGRAM, BUILD, COMPILE], ids=["program", "build", "compile"])
def test_each_line_is_one_version_with_hashes(lists):
    for name, (line, hashes) in lists.items():
        assert [each.operator for each in line.specifier] == ["=="], name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name
        assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("name", sorted(PROGRAM))
def test_what_a_package_needs_is_there(name):
    """Dependencies of dependencies are listed too, for this and other Pythons, as pip demands with hashes."""
    try:
        needs = [Requirement(each) for each in requires(name) or ()]
    except PackageNotFoundError:
        line, _ = PROGRAM[name]
        assert line.marker is not None, f"{name} is not in this environment"
        assert not line.marker.evaluate()
        return
    for version in ("3.11", "3.13"):
        environment = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
        missing = [
            each
            for each in needs
            if (each.marker is None or each.marker.evaluate(environment))
            and canonicalize_name(each.name) not in PROGRAM
        ]
        assert missing == []


def test_nothing_is_there_that_nobody_needs():
    needed = {canonicalize_name(Requirement(text).name) for lists, text in WANTED if lists is PROGRAM}
    for name, (line, _) in PROGRAM.items():
        if line.marker is None and name not in needed:
            assert any(name in map(canonicalize_name, _needs(other)) for other in PROGRAM), name


def _needs(name):
    try:
        return [Requirement(each).name for each in requires(name) or ()]
    except PackageNotFoundError:
        return []
