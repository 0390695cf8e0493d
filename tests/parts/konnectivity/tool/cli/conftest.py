"""Fixture with the `konnectivity` tool, called as from a shell."""

from __future__ import annotations

import pytest

from konnectivity.tool.cli.main import main


@pytest.fixture
def tool(tmp_path, capsys, monkeypatch):
    """Return a function that runs the tool in the test's directory and returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, errors = capsys.readouterr()
        assert "Traceback" not in errors
        return ended.value.code, out, errors

    return run
