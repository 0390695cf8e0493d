"""Checks of option values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from konnectivity.runtime import options
from konnectivity.runtime.options import (
    at_least,
    existing_file,
    one_of,
    port,
    positive,
)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (port(0, 10), [0, 10], [-1, 11]),
        (port(), [1, 65535], [0, 65536]),
        (one_of("a", "b"), ["a"], ["", "A"]),
        (at_least(0), [0, 1.5], [-1]),
        (positive, [1, 0.1], [0, -1]),
    ],
)
def test_checks(check: options.Check, good: list[Any], bad: list[Any]) -> None:
    assert [check(value) for value in good] == [None] * len(good)
    assert all(check(value) for value in bad)


def test_existing_file(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert existing_file("") is None
    assert existing_file(str(tmp_path / "there")) is None
    assert existing_file(str(tmp_path / "gone")) == "No such file or directory; check the path"
    assert existing_file(str(tmp_path)) == "is a directory; give the path of a file"


def test_a_duration_above_zero_is_returned_in_seconds() -> None:
    assert options.positive_duration("--timeout", "1m30s") == 90.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0", "must be greater than 0"),
        ("-1s", "must be greater than 0"),
        ("5", "not a duration"),
        ("", "not a duration"),
    ],
)
def test_an_error_in_a_duration_names_the_flag_and_the_value(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"--timeout={text}: {why}")):
        options.positive_duration("--timeout", text)
