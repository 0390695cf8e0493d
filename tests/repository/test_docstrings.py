"""Test that docstrings of the product can be understood alone: they begin with a noun phrase or a verb."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT

SOURCES = [
    path
    for folder in ("konnectivity", "server", "agent")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.stem.endswith("_pb2")
]
# A pronoun or a question word says nothing without the sentence before it or the body below it.
VAGUE_BEGINNING = re.compile(
    r"(What|Who|Whose|Whom|Of|Which|Whether|How|So|As|By|On|One|If|Where|When|That|Those|These|Everything|Nothing|It|Its"
    r"|They|Their|He|She|There|Here|The one|The same|Same)\b"
)
VAGUE = re.compile(r"\b(so many|so long|who asks|what is said|goes on|it is none|in vain|stands for itself)\b")


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of a module and of everything in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
            text := ast.get_docstring(node)
        ):
            yield getattr(node, "name", path.stem), text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_can_be_understood_alone(path: Path) -> None:
    found = [
        f"{name}: {text.splitlines()[0]}"
        for name, text in docstrings(path)
        if VAGUE_BEGINNING.match(text) or VAGUE.search(text)
    ]
    assert found == []
