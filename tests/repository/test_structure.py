"""Tests of the structure of the product: small packages, unique names, no import cycle."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support.checkout import ROOT

SOURCES = {"konnectivity": ROOT, "konnectivity_server": ROOT / "server", "konnectivity_agent": ROOT / "agent"}
MAX_MODULES = 20  # maximum number of modules in a folder
MAX_LINES = 400  # maximum number of lines in a module
MODULES_OF_SEVERAL_PACKAGES = {"__init__", "__main__"}


@cache
def modules() -> dict[str, Path]:
    """Return the path of each module of the product by its dotted name; generated modules are left out."""
    found = {}
    for package, root in SOURCES.items():
        for path in sorted((root / package).rglob("*.py")):
            if not path.stem.endswith("_pb2"):
                found[".".join(path.relative_to(root).with_suffix("").parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(module: str) -> Iterator[str]:
    """Yield the modules that `module` imports at its top level, also those for types only."""
    waiting: list[ast.stmt] = list(tree(modules()[module]).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If):
            waiting += node.body + node.orelse
        elif isinstance(node, ast.Try):
            waiting += node.body
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield next(
                    (
                        name
                        for name in (f"{node.module}.{alias.name}", node.module, f"{node.module}.__init__")
                        if name in modules()
                    ),
                    "",
                )


def test_a_folder_has_few_modules() -> None:
    folders: dict[Path, int] = defaultdict(int)
    for path in modules().values():
        folders[path.parent] += path.stem not in MODULES_OF_SEVERAL_PACKAGES
    assert {str(folder): count for folder, count in folders.items() if count > MAX_MODULES} == {}


def test_a_module_is_short() -> None:
    assert {name: n for name, path in modules().items() if (n := path.read_text().count("\n")) > MAX_LINES} == {}


def test_each_package_says_what_it_is() -> None:
    for name, path in modules().items():
        if path.stem == "__init__":
            assert ast.get_docstring(tree(path)), name


def test_a_module_name_stands_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        if path.stem not in MODULES_OF_SEVERAL_PACKAGES:
            places[path.stem].append(name)
    assert {stem: names for stem, names in places.items() if len(names) > 1} == {}


def test_a_class_name_stands_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {each: names for each, names in places.items() if len(names) > 1} == {}


def test_no_modules_import_each_other() -> None:
    """Cycles are found by repeatedly removing modules whose imports have all been removed."""
    left = {name: {each for each in imported(name) if each and each != name} for name in modules()}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    cycle = {name: sorted(needs & left.keys()) for name, needs in left.items()}
    assert cycle == {}


def test_server_and_agent_stand_on_the_library_and_not_on_each_other() -> None:
    """Only the tool, which explains and checks both programs, may import modules of the server and of the agent."""
    for name in modules():
        package = name.partition(".")[0]
        others = {"konnectivity_server", "konnectivity_agent"} - {package}
        if not name.startswith("konnectivity.tool."):
            assert not [each for each in imported(name) if each.partition(".")[0] in others], name
