"""Numbers that come from outside."""

from __future__ import annotations

import pytest

from konnectivity.numbers import parse_decimal


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
