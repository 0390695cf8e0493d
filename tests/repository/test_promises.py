"""Tests of docs/reference/promises.md: nothing that a release promised is gone, and versions are those of the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from konnectivity import __version__
from support.checkout import DOCS, ROOT

RELEASES = sorted((ROOT / "tests/repository/releases").glob("*.json"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (DOCS / "reference/promises.md").read_text()


@pytest.fixture(scope="module")
def interface() -> dict:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts/interface.py"], capture_output=True, text=True, check=True
    )
    return json.loads(printed.stdout)


def test_a_release_has_a_record() -> None:
    assert __version__ in {path.stem for path in RELEASES}


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_every_flag_of_a_release_is_still_accepted(interface: dict, release: Path) -> None:
    """A flag keeps its name, its other names, its variables and the kind of its value."""
    for program, flags in json.loads(release.read_text())["flags"].items():
        now = interface["flags"][program]
        for flag, promised in flags.items():
            assert flag in now, f"{program} --{flag}"
            assert now[flag]["kind"] == promised["kind"], f"{program} --{flag}"
            assert set(promised["names"]) <= set(now[flag]["names"]), f"{program} --{flag}"
            assert set(promised["env"]) <= set(now[flag]["env"]), f"{program} --{flag}"


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_every_command_of_a_release_is_still_there(interface: dict, release: Path) -> None:
    for command, options in json.loads(release.read_text())["commands"].items():
        assert set(options) <= set(interface["commands"][command]), command


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_every_name_of_the_client_library_is_still_there(interface: dict, release: Path) -> None:
    """A name keeps its signature; parameters may be added at the end, with a default."""
    for name, signature in json.loads(release.read_text())["client"].items():
        assert name in interface["client"], name
        promised, _, result = signature.partition(" -> ")
        now, _, result_now = interface["client"][name].partition(" -> ")
        assert result_now == result, name
        assert now.rstrip(")").startswith(promised.rstrip(")")), f"{name}: {now} was {promised}"


def test_the_changelog_has_the_version_with_its_date() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - 20\d\d-\d\d-\d\d", headings[1])


def test_pages_name_the_present_version() -> None:
    """File names, images and charts with a version have that of the code."""
    named = re.compile(r"(?:konnectivity-|proxy-server:|proxy-agent:|version: \"?)(\d+\.\d+\.\d+)(?![-.\d])")
    wrong = {
        f"{page.relative_to(ROOT)}: {found}"
        for page in [ROOT / "README.md", *(DOCS / "start").glob("*.md")]
        for found in named.findall(page.read_text())
        if found != __version__
    }
    assert wrong == set()


def test_the_supported_pythons_are_stated_once() -> None:
    """The page, the classifiers and `requires-python` name the same versions."""
    prefix = "Programming Language :: Python :: "
    versions = [each.removeprefix(prefix) for each in PROJECT["classifiers"] if each.startswith(f"{prefix}3.")]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert re.search(r"^\| Python \| (.*?) \|", PAGE, re.MULTILINE)[1] == ", ".join(versions)
