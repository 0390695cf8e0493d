"""Kinds of option values: reading of each from text, and writing so that reading returns the same value. Pure."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_MAX_NANOS = 2**63 - 1
_MAX_INT_TEXT = 24  # characters: a longer text is not a 64-bit number, and `int` would be slow on it
_NANOS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # U+00B5, the micro sign
    "μs": 10**3,  # U+03BC, the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_INT = re.compile(r"[+-]?(0x[0-9a-f]+|0|[1-9][0-9]*)", re.IGNORECASE)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]+)(Ki|Mi|Gi)?")
_SIZE_UNITS = {"Gi": 2**30, "Mi": 2**20, "Ki": 2**10}


class Duration(float):
    """Number of seconds that marks a default as a duration."""


class Size(int):
    """Number of bytes that marks a default as a size."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """Reader and writer of the values of one type."""

    name: str
    read: Callable[[str], T]  # raises ValueError, whose text says what to write instead
    write: Callable[[T], str]
    bare: str | None = None  # value of a flag without a value; None: the flag takes the next argument
    appends: bool = False  # whether a repeated flag adds to the value


def parse_duration(text: str) -> float:
    """Return the seconds of a duration in Go's syntax: `1h0m0s`, `500ms`, `1.5h`, `-1s`, `0`. Exact to a nanosecond.

    Raises:
        ValueError: the text is no duration, or longer than 292 years.

    """
    body = text[1:] if text.startswith(("+", "-")) else text
    if body == "0":
        return 0.0
    nanos, at = 0, 0
    while part := _DURATION_PART.match(body, at):
        whole, fraction, unit = part.groups("")
        if unit not in _NANOS or not whole + fraction:
            break
        nanos += (int(whole + fraction) * _NANOS[unit]) // 10 ** len(fraction)
        at = part.end()
    if at < len(body) or not body:
        raise ValueError("not a duration; write numbers with units, as in 30s, 1m30s or 500ms")
    if nanos > _MAX_NANOS:
        raise ValueError("too long; the longest duration is 292 years")
    return (-nanos if text.startswith("-") else nanos) / 1e9


def format_duration(seconds: float) -> str:
    """Write a duration as Go does: `1h0m0s`, `1m30s`, `1.5s`, `500ms`, `0s`."""
    nanos = round(abs(seconds) * 1e9)
    if nanos == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    for unit in ("ns", "µs", "ms"):
        if nanos < 1000 * _NANOS[unit]:
            return f"{sign}{_decimal(nanos, _NANOS[unit])}{unit}"
    minutes, rest = divmod(nanos, _NANOS["m"])
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, _NANOS['s'])}s"


def _decimal(nanos: int, unit: int) -> str:
    whole, fraction = divmod(nanos, unit)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}}".rstrip("0") if fraction else str(whole)


def duration(text: str) -> Duration:
    """Return the default of a duration option."""
    return Duration(parse_duration(text))


def size(text: str) -> Size:
    """Return the default of a size option."""
    return Size(_read_size(text))


def _read_int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError("not a whole number; write digits only, without leading zeros")
    number = int(text, 0) if len(text) <= _MAX_INT_TEXT else 2**64
    if not -(2**63) <= number < 2**63:
        raise ValueError("value out of range: a whole number has at most 64 bits")
    return number


def _read_float(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError("not a number; write it as in 5 or 2.5")
    if math.isinf(float(text)):
        raise ValueError("too large")
    return float(text)


def _read_bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("must be true or false")


def _read_switch(text: str) -> bool | None:
    try:
        return None if text == "auto" else _read_bool(text)
    except ValueError:
        raise ValueError("must be true, false or auto") from None


def _read_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("not a size; write bytes, or a number with Ki, Mi or Gi, as in 64Ki")
    return int(match[1]) * _SIZE_UNITS.get(match[2], 1)


def _write_size(value: int) -> str:
    for unit, factor in _SIZE_UNITS.items():
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _read_strings(text: str) -> tuple[str, ...]:
    if text == "[]":  # launchers print an empty list in this form
        return ()
    try:
        return tuple(next(csv.reader([text], strict=True), ()))
    except csv.Error as error:
        raise ValueError(f"not a list of values with commas between them: {error}") from None


def _write_strings(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return {"": "[]", "[]": '"[]"'}.get(line.getvalue(), line.getvalue())


def _read_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STRING: Kind[str] = Kind("string", str, str)
INT: Kind[int] = Kind("int", _read_int, str)
FLOAT: Kind[float] = Kind("float", _read_float, lambda value: repr(value).removesuffix(".0"))
BOOL: Kind[bool] = Kind("bool", _read_bool, lambda value: "true" if value else "false", bare="true")
SWITCH: Kind[bool | None] = Kind(  # None means that the program decides
    "switch", _read_switch, lambda value: "auto" if value is None else BOOL.write(value), bare="true"
)
DURATION: Kind[float] = Kind("duration", parse_duration, format_duration)
SIZE: Kind[int] = Kind("size", _read_size, _write_size)
STRINGS: Kind[tuple[str, ...]] = Kind("strings", _read_strings, _write_strings, appends=True)
WORDS: Kind[tuple[str, ...]] = Kind("words", _read_words, " ".join, appends=True)  # values that have commas

# A subclass stands before its base class: bool is an int, Duration a float.
KINDS: tuple[tuple[type, Kind[Any]], ...] = (
    (bool, BOOL),
    (Size, SIZE),
    (int, INT),
    (Duration, DURATION),
    (float, FLOAT),
    (str, STRING),
    (tuple, STRINGS),
)
