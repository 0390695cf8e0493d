"""Tests that docs/secure/security.md, threats.md and attacks.md agree, and that each test they name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support.checkout import DOCS, ROOT

PAGE = (DOCS / "secure" / "security.md").read_text()
TESTS = (DOCS / "secure" / "threats.md").read_text()
ATTACKS = (DOCS / "secure" / "attacks.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[^`\s]+)`", PAGE + TESTS + ATTACKS)))
SECTION = PAGE.partition("## Threats")[2].partition("## Not protected")[0]
THREATS = re.findall(r"^\| ([A-Z]\d+) \| ([^|]+) \| [^|]+ \|$", SECTION, re.MULTILINE)


def functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("node", NAMED)
def test_a_named_test_exists(node: str) -> None:
    path, _, name = node.partition("::")
    assert (ROOT / path).is_file()
    assert not name or (name.startswith("test_") and name in functions(ROOT / path))


def test_each_threat_has_tests_on_the_other_page() -> None:
    tested = re.findall(r"^\| ([A-Z]\d+) ([^|]+) \| `tests/[^|]+ \|$", TESTS, re.MULTILINE)
    assert tested == THREATS
    assert len(THREATS) > 50


def test_every_row_of_the_threats_is_read() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("| ") and not line.startswith("| | threat")]
    assert len(rows) == len(THREATS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\(`(test_\w+\.py)`\)", ATTACKS))))
def test_an_attack_of_the_table_is_tested(name: str) -> None:
    assert (ROOT / "tests" / "attacks" / name).is_file()
