"""Tests of docs/operate/troubleshooting.md: each quoted text is in the source, and each error text is quoted.

docs/operate/forward.md has the texts of forward proxies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT

PAGE = (ROOT / "docs" / "operate" / "troubleshooting.md").read_text()
ROOTS = {"konnectivity": ROOT, "konnectivity_server": ROOT / "server", "konnectivity_agent": ROOT / "agent"}
FORWARD_PAGE = (ROOT / "docs" / "operate" / "forward.md").read_text()
TENANTS_PAGE = (ROOT / "docs" / "operate" / "tenants.md").read_text()
GAP = "..."
# Calls whose texts reach a person: in a log, on stderr, in the answer to a dial, or in the status of a call.
SPOKEN = re.compile(
    r"(?<!Value)(?<!Runtime)(?<!Type)(?<!Import)(?<!Attribute)(?<!FileExists)(?<!HeaderBlock)Error$"
    r"|^(\w*Refusal|Status|abort|fault|exit|_refuse)$"
)


def source(module: str) -> Path | None:
    base = ROOTS[module.partition(".")[0]] / module.replace(".", "/")
    return next((each for each in (base.with_suffix(".py"), base / "__init__.py") if each.exists()), None)


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def programs() -> dict[Path, ast.AST]:
    """Return the sources of both programs, without the tool."""
    found: dict[Path, ast.AST] = {}
    waiting = ["konnectivity_server.server_main", "konnectivity_agent.agent_main", "konnectivity.runtime.zip_archive"]
    # These modules connect to a server as kube-apiserver does.
    waiting += ["konnectivity.client", "konnectivity.tool.cli.dial_command"]
    while waiting:
        module = waiting.pop()
        if module.partition(".")[0] not in ROOTS or (path := source(module)) is None or path in found:
            continue
        found[path] = ast.parse(path.read_text())
        waiting += imports(found[path])
    return found


def template(node: ast.AST) -> str | None:
    """Return the text of a string expression with a gap for each inserted value."""
    if isinstance(node, ast.Constant):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(each) if isinstance(each, ast.Constant) else GAP for each in node.values)
    if isinstance(node, ast.BinOp):
        return f"{template(node.left) or GAP}{template(node.right) or GAP}"
    return None


def spoken(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        logged = name in ("error", "warning") and isinstance(node.func.value, ast.Name) and node.func.value.id == "log"
        if logged or SPOKEN.search(name):
            for each in (*node.args, *(keyword.value for keyword in node.keywords)):
                text = template(each)
                if isinstance(text, str) and " " in text.replace(GAP, "").strip():
                    yield text


SOURCES = programs()
TEMPLATES = [text for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(text := template(node), str)]
QUOTED_PART = PAGE.partition("\n## Texts\n")[2].partition("\n## When nothing helps")[0]
CELLS = [line.strip("|").split(" | ")[0] for line in QUOTED_PART.splitlines() if line.startswith("| ")]
PARAGRAPH = QUOTED_PART.partition("Texts of the tool")[2].partition("\n###")[0]
BESIDE = " ".join(PARAGRAPH.split())
QUOTED = sorted({text for cell in (*CELLS, BESIDE) for text in re.findall(r"`([^`]+)`", cell) if " " in text})


def pieces(text: str) -> list[str]:
    return [piece for each in text.split(GAP) if len(piece := each.strip(" :;,.'\"()")) > 3]


@pytest.mark.parametrize("text", QUOTED)
def test_what_is_quoted_is_said(text):
    assert pieces(text)
    for piece in pieces(text):
        assert any(piece in each for each in TEMPLATES)


@pytest.mark.parametrize("text", sorted({text for tree in SOURCES.values() for text in spoken(tree)}))
def test_what_is_said_is_quoted(text):
    wanted = pieces(text)
    flat = " ".join((PAGE + FORWARD_PAGE + TENANTS_PAGE).split())
    assert all(each in flat for each in wanted), wanted


def test_the_page_and_the_programs_were_read():
    assert len(SOURCES) > 80
    assert len(QUOTED) > 100
    assert BESIDE
