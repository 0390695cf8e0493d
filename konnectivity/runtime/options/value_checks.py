"""Checks of option values: each says what is wrong with a value, or None."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from konnectivity.runtime.options.value_kinds import Duration, format_duration

Check = Callable[[Any], str | None]


def port(low: int = 1, high: int = 65535) -> Check:
    """A port number within a range."""
    return lambda value: None if low <= value <= high else f"must be a port between {low} and {high}"


def one_of(*allowed: str) -> Check:
    """One of a few words. The empty one, if allowed, is not spoken of."""
    words = ", ".join(filter(None, allowed))
    return lambda value: None if value in allowed else f"must be one of: {words}"


def at_least(minimum: float) -> Check:
    """A number or duration that is not smaller."""
    shown = format_duration(minimum) if isinstance(minimum, Duration) else f"{minimum:g}"
    return lambda value: None if value >= minimum else f"must be {shown} or more"


def positive(value: float) -> str | None:
    """A number or duration above zero."""
    return None if value > 0 else "must be greater than 0"


def header_text(value: str) -> str | None:
    """A text that can be the value of a header: HTTP/2 and gRPC carry no other."""
    if not (value.isascii() and value.isprintable()):
        return "must be of printable ASCII characters"
    return "must not begin or end with a space" if value != value.strip() else None


def existing_file(path: str) -> str | None:
    """A file that is there. Empty means "not set" and is fine."""
    if not path:
        return None
    try:
        os.stat(path)
    except OSError as error:
        return f"{error.strerror}; check the path"
    except ValueError as error:  # a null byte
        return f"{error}; check the path"
    return "is a directory; give the path of a file" if os.path.isdir(path) else None
