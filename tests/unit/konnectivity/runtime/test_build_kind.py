"""Tests of the kind of the build: the programs print it, and it matches the files of their modules."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from konnectivity import __version__
from konnectivity.http2 import inbound
from konnectivity.runtime.build_kind import build_kind
from konnectivity.tool.cli import main as tool
from konnectivity.tunnel import connection
from konnectivity_agent import agent_main
from konnectivity_server import server_main


def test_the_kind_is_that_of_the_hot_modules() -> None:
    suffixes = {Path(module.__file__ or "").suffix for module in (inbound, connection)}
    assert suffixes == ({".py"} if build_kind() == "pure Python" else {".so"})


def test_the_build_is_the_one_that_is_to_be_tested() -> None:
    assert build_kind() == {"compiled": "compiled"}.get(os.environ.get("BUILD", ""), "pure Python")


def test_objects_of_compiled_classes_have_no_weak_references() -> None:
    """On Python 3.11 mypyc's own would crash the garbage collector; a base in Python may bring them in again."""
    referable = [
        f"{name}.{each.__qualname__}"
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("konnectivity", "konnectivity_server", "konnectivity_agent")
        for each in vars(module).values()
        if isinstance(each, type) and "__mypyc_attrs__" in vars(each) and each.__weakrefoffset__
    ]
    assert referable == []


@pytest.mark.parametrize(
    ("program", "main"),
    [("proxy-server", server_main.main), ("proxy-agent", agent_main.main), ("konnectivity", tool.main)],
)
def test_version_names_the_build(program, main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{program} {__version__} ({build_kind()}, Python {platform.python_version()})\n"
