"""Checks of option values: each returns the error text of a value, or None. The tool uses `positive_duration`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from konnectivity.runtime.options.value_kinds import Duration, format_duration, parse_duration
from konnectivity.untrusted.numbers import MAX_PORT

Check = Callable[[Any], str | None]


def port(low: int = 1, high: int = MAX_PORT) -> Check:
    """Return a check that a port number is within a range."""
    return lambda value: None if low <= value <= high else f"must be a port between {low} and {high}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Check that a text is one of `allowed`. The error does not list an empty text.

    Attributes:
        allowed: the texts, which the completion of shells lists.

    """

    allowed: tuple[str, ...]

    def __call__(self, value: str) -> str | None:
        """Return the error text of a value, or None."""
        return None if value in self.allowed else f"must be one of: {', '.join(filter(None, self.allowed))}"


def one_of(*allowed: str) -> Check:
    """Return a check that a text is one of `allowed`."""
    return OneOf(allowed)


def at_least(minimum: float) -> Check:
    """Return a check that a number or duration is not below `minimum`."""
    shown = format_duration(minimum) if isinstance(minimum, Duration) else f"{minimum:g}"
    return lambda value: None if value >= minimum else f"must be {shown} or more"


def positive(value: float) -> str | None:
    """Check that a number or duration is above zero."""
    return None if value > 0 else "must be greater than 0"


def header_text(value: str) -> str | None:
    """Check that a text can be the value of an HTTP/2 header."""
    if not (value.isascii() and value.isprintable()):
        return "must be of printable ASCII characters"
    return "must not begin or end with a space" if value != value.strip() else None


def existing_file(path: str) -> str | None:
    """Check that a path leads to a file. An empty path means that the option is not set, and passes."""
    if not path:
        return None
    try:
        os.stat(path)
    except OSError as error:
        return f"{error.strerror}; check the path"
    except ValueError as error:  # a null byte
        return f"{error}; check the path"
    return "is a directory; give the path of a file" if os.path.isdir(path) else None


def existing_directory(path: str) -> str | None:
    """Check that a path leads to a directory. An empty path means that the option is not set, and passes."""
    return None if not path or os.path.isdir(path) else "is no directory; check the path"


def positive_duration(flag: str, text: str) -> float:
    """Return the seconds of a duration above zero, given as the value of `flag`.

    Raises:
        ValueError: the text is no duration, or not above zero; the error names flag and value.

    """
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{flag}={text}: {error}") from None
    if problem := positive(seconds):
        raise ValueError(f"{flag}={text}: {problem}")
    return seconds
