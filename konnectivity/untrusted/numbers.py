"""Numbers in text from peers, files and people, bounded in length and value. Pure."""

from __future__ import annotations

import math

MAX_PORT = 65535
MAX_FIGURE = 40  # characters of a number with a fraction or an exponent


def parse_decimal(text: str, most: int) -> int | None:
    r"""Return the number of a text in ASCII digits, or None for any other text and for a number above `most`.

    A number may not have more digits than `most`, leading zeros included: the time of `int` is not linear in them.
    `int`, `str.isdigit` and `str.isdecimal` accept digits of every script, signs, white space and underscores, and
    disagree about some of them ("\\u00b2".isdigit() is true, int("\\u00b2") raises).
    """
    if len(text) > len(str(most)) or not text.isascii() or not text.isdecimal():
        return None
    number = int(text)
    return number if number <= most else None


def finite(value: object) -> float | None:
    """Return the number of a JSON value or a metric's sample, given as number or text; None if it is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > MAX_FIGURE or not value.isascii()):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
