"""Kinds of option values: a value that is read is written back unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.runtime.options import (
    FLOAT,
    SIZE,
    STRINGS,
    format_duration,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("0", 0, "0s"),
        ("-0", 0, "0s"),
        ("0s", 0, "0s"),
        ("1h", 3600, "1h0m0s"),
        ("1h0m0s", 3600, "1h0m0s"),
        ("1.5h", 5400, "1h30m0s"),
        ("90s", 90, "1m30s"),
        ("1m30.5s", 90.5, "1m30.5s"),
        ("500ms", 0.5, "500ms"),
        ("1500us", 0.0015, "1.5ms"),
        ("100µs", 0.0001, "100µs"),
        ("100μs", 0.0001, "100µs"),
        ("1ns", 1e-9, "1ns"),
        ("-1s", -1, "-1s"),
        ("+5s", 5, "5s"),
        (".5s", 0.5, "500ms"),
        ("1.s", 1, "1s"),
        ("999999999ns", 0.999999999, "999.999999ms"),
        ("100h", 360000, "100h0m0s"),
        ("1s1h", 3601, "1h0m1s"),
    ],
)
def test_durations(text: str, seconds: float, written: str) -> None:
    assert parse_duration(text) == seconds
    assert format_duration(parse_duration(text)) == written


@pytest.mark.parametrize("text", ["", "-", "1", "s", ".s", "1d", "abc", "1h-1m", "1 s", "1,5s", "٣s", "--1s", "1e3s"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_durations_have_an_end() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("2562048h")
    assert parse_duration("2562047h") == 2562047 * 3600


@given(st.integers(-(2**50), 2**50))
def test_durations_round_trip_to_the_nanosecond(nanos: int) -> None:
    assert parse_duration(f"{nanos}ns") == nanos / 1e9
    assert round(parse_duration(format_duration(nanos / 1e9)) * 1e9) == nanos


@given(st.text("0123456789.hmsuµn-+ ", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@given(st.integers(0, 2**50))
def test_sizes_round_trip(value: int) -> None:
    assert SIZE.read(SIZE.write(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(value: float) -> None:
    assert FLOAT.read(FLOAT.write(value)) == value


@given(st.lists(st.text("a,\" '[]", max_size=5), max_size=4).map(tuple))
def test_lists_round_trip(values: tuple[str, ...]) -> None:
    assert STRINGS.read(STRINGS.write(values)) == values
