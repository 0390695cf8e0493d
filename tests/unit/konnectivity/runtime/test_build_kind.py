"""Tests of the kind of the build: the programs print it, and it matches the files of their modules."""

from __future__ import annotations

import platform
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


@pytest.mark.parametrize(
    ("program", "main"),
    [("proxy-server", server_main.main), ("proxy-agent", agent_main.main), ("konnectivity", tool.main)],
)
def test_version_names_the_build(program, main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{program} {__version__} ({build_kind()}, Python {platform.python_version()})\n"
