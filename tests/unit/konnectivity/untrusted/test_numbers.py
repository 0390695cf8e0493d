"""Numbers in untrusted text."""

from __future__ import annotations

import re

import pytest

from konnectivity.untrusted.numbers import finite, parse_decimal
from support.checkout import ROOT


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("80", 80), ("0080", 80), ("65535", 65535)])
def test_ascii_digits_are_a_number(text, number):
    assert parse_decimal(text, 65535) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1.0",
        "1e3",
        "0x10",
        "²",
        "٣",
        "\uff11",
        "⑤",
        "65536",
        "9" * 20,
        "9" * 5000,
        "0" * 21,
    ],
    ids=lambda text: ascii(text)[:12],
)
def test_anything_else_is_none(text):
    assert parse_decimal(text, 65535) is None


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (0.5, 0.5), ("2.5", 2.5), ("1e3", 1000.0), ("-7", -7.0)])
def test_figures(value, number):
    assert finite(value) == number


@pytest.mark.parametrize(
    "value",
    ["", "x", "nan", "inf", "-Inf", "1e999", "9" * 5000, "\u0663", None, True, [], {}, float("nan"), 10**400],
    ids=lambda value: ascii(str(value))[:12],
)
def test_what_is_no_figure(value):
    assert finite(value) is None


def test_no_other_way_to_read_digits_is_left():
    """`isdigit` and similar methods accept text that `int` refuses, and digits that no peer means."""
    root = ROOT
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("konnectivity", "server", "agent")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\.(isdigit|isdecimal|isnumeric)\(", line)
    ]
    allowed = {"konnectivity/untrusted/numbers.py", "konnectivity/net/destination_policy.py"}
    assert [line for line in found if line.partition(":")[0] not in allowed] == []
