"""Tests of .github and .pre-commit-config.yaml: linters find no fault, actions are pinned, commands exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.checkout import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
ACTIONLINT = ROOT / ".cache/bin/actionlint"


def test_actionlint_finds_no_fault() -> None:
    found = shutil.which("actionlint") or shutil.which(ACTIONLINT)
    if found is None:
        pytest.skip("actionlint is missing: sh tests/workflows/install_actionlint.sh")
    checked = subprocess.run([found, "-no-color", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def test_zizmor_finds_no_weakness() -> None:
    """Among them: rights, templates in scripts, credentials that stay, actions that are not pinned."""
    if not (BIN / "zizmor").exists():
        pytest.skip("zizmor is missing: make .venv/.stamp")
    command = [BIN / "zizmor", "--offline", "--no-progress", "--color=never", ROOT / ".github"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_few_rights_and_limits(workflow: Path) -> None:
    """The workflow has no right, each job names its own, and each ends after its time."""
    found = yaml.safe_load(workflow.read_text())
    assert found["permissions"] == {}
    for name, job in found["jobs"].items():
        assert "permissions" in job, name
        assert job["timeout-minutes"] <= 90, name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit_and_says_its_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)$", workflow.read_text(), re.MULTILINE)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


def test_the_same_action_has_the_same_commit_everywhere() -> None:
    used = {each for path in WORKFLOWS for each in re.findall(r"uses: (\S+)", path.read_text())}
    names = [each.partition("@")[0] for each in used]
    assert len(names) == len(set(names))


def test_scripts_and_targets_that_workflows_call_are_there() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    scripts = set(re.findall(r"\b(scripts/[\w./-]+\.(?:sh|py))\b", text))
    assert scripts
    assert [name for name in scripts if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"\bmake ([\w-]+)$", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_hooks_of_pre_commit_start_tools_of_the_environment() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert (ROOT / hook["entry"].split()[0]).exists(), hook["id"]
        assert hook["language"] == "system"


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_a_form_has_what_the_site_demands(form: Path) -> None:
    """A form has a name, a description and a body; each field has a unique id and a label."""
    found = yaml.safe_load(form.read_text())
    assert found["name"]
    assert found["description"]
    assert len({field["id"] for field in found["body"]}) == len(found["body"])
    assert all(field["attributes"]["label"] for field in found["body"])
