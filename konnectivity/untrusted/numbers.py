"""Numbers in text that a peer, a file or a person wrote. Pure."""

from __future__ import annotations

import math

MAX_PORT = 65535
MAX_FIGURE = 40  # characters of a figure, which may have a fraction and an exponent


def parse_decimal(text: str, most: int) -> int | None:
    r"""Return the number that `text` writes in ASCII digits, or None if it is no such number or larger than `most`.

    It has at most as many digits as `most`, leading zeros included: the time of `int` grows faster than their number.
    `int`, `str.isdigit` and `str.isdecimal` take digits of every script, signs, white space and underscores, and
    disagree about some of them ("\\u00b2".isdigit() is true, int("\\u00b2") raises).
    """
    if len(text) > len(str(most)) or not text.isascii() or not text.isdecimal():
        return None
    number = int(text)
    return number if number <= most else None


def finite(value: object) -> float | None:
    """Return a number of a JSON document or of a metric's sample, given as number or text; None if it is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > MAX_FIGURE or not value.isascii()):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
