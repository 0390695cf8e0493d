"""Tests of the modules that a compiled wheel has as C extensions: they exist, and mypyc compiles them correctly."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path

import pytest

from support.checkout import ROOT

MACROS = {"_linux", "_thread", "_unix"}  # attributes whose C names, with one more underscore, the C compiler has taken


def listed(name: str) -> set[str]:
    """Return a constant of the build hook, which itself cannot be imported where hatchling is missing."""
    for node in ast.parse((ROOT / "hatch_build.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return set(ast.literal_eval(node.value))
    raise AssertionError(name)


def path_of(name: str) -> Path:
    package = name.partition("/")[0]
    return ROOT / {"konnectivity_server": "server", "konnectivity_agent": "agent"}.get(package, ".") / name


def compiled() -> Iterator[Path]:
    left_out = {path_of(name) for name in listed("INTERPRETED")}
    for name in listed("COMPILED"):
        path = path_of(name)
        yield from {path} if path.is_file() else set(path.rglob("*.py")) - left_out


def products() -> Iterator[Path]:
    for folder in ("konnectivity", "server/konnectivity_server", "agent/konnectivity_agent"):
        yield from (ROOT / folder).rglob("*.py")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[parts[0] in ("server", "agent") :]).removesuffix(".__init__")


def classes_of(modules: set[str]) -> Iterator[type]:
    """Return the classes that modules of the product define."""
    for name in modules:
        values = vars(import_module(name)).values()
        yield from (each for each in values if isinstance(each, type) and each.__module__ == name)


def test_each_listed_module_exists_and_each_exception_is_one_of_the_listed() -> None:
    files = {file for name in listed("COMPILED") for file in [path_of(name), *path_of(name).rglob("*.py")]}
    for name in listed("COMPILED") | listed("INTERPRETED"):
        assert path_of(name).exists(), name
    assert {path_of(name) for name in listed("INTERPRETED")} <= files


@pytest.mark.parametrize("path", sorted(compiled()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_compiled_module_has_no_construct_that_mypyc_gets_wrong(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in MACROS, f"line {node.lineno}: __{node.attr.lstrip('_')} is a macro in C"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            types = defaultdict(set)
            for each in ast.walk(node):
                if isinstance(each, ast.ExceptHandler) and each.name and each.type:
                    types[each.name].add(ast.unparse(each.type))
            shared = {name for name, found in types.items() if len(found) > 1}
            assert not shared, f"{node.name}: one name for handlers of several types: {shared}"


def test_no_module_makes_weak_references() -> None:
    """On Python 3.11 mypyc's weak references are never cleared; the build hook removes them from compiled classes."""
    for path in products():
        for node in ast.walk(ast.parse(path.read_text())):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            assert "weakref" not in names, path
            assert not isinstance(node, ast.ImportFrom) or node.module != "weakref", path


def test_bases_of_compiled_classes_have_no_fields_unless_they_are_compiled() -> None:
    """Both classes would have a field of their own at one place in the object: the garbage collector crashes."""
    modules = {module_of(path) for path in compiled()}
    for each in classes_of(modules):
        if issubclass(each, Enum | tuple):  # stays a Python class
            continue
        for base in each.__mro__[1:]:
            if base.__module__ not in modules and not issubclass(base, BaseException):
                assert base.__basicsize__ == object.__basicsize__, f"{each} is below {base}"


def test_no_class_is_below_a_compiled_one_unless_it_is_compiled() -> None:
    """Python refuses such a class when its module is imported."""
    modules = {module_of(path) for path in compiled()}
    importable = [path for path in products() if "_pb2" not in path.name and path.name != "__main__.py"]
    others = {module_of(path) for path in importable if path.parent.name != "tracing"}  # which needs an extra
    for each in classes_of(others - modules):
        assert not {base.__module__ for base in each.__mro__[1:]} & modules, each
