"""docs/secure/security.md names tests for each threat: they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.checkout import ROOT

PAGE = (ROOT / "docs" / "secure" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[^`\s]+)`", PAGE)))
SECTION = PAGE.partition("## Threats")[2].partition("## Not answered here")[0]
THREATS = [line for line in SECTION.splitlines() if line.startswith("| ") and "`tests/" in line]


def functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("node", NAMED)
def test_a_named_test_is_there(node: str) -> None:
    path, _, name = node.partition("::")
    assert (ROOT / path).is_file()
    assert not name or (name.startswith("test_") and name in functions(ROOT / path))


def test_each_threat_names_one() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert rows == THREATS
    assert len(rows) > 20


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE))))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / "secure" / link).is_file()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\(`(test_\w+\.py)`\)", PAGE))))
def test_an_attack_of_the_table_is_tested(name: str) -> None:
    assert (ROOT / "tests" / "attacks" / name).is_file()
