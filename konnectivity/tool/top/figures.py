"""Short forms of numbers for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_RANDOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9]+)?")  # a UUID, and the number of a worker
_UNITS = ("B", "K", "M", "G", "T")


def name(text: str) -> str:
    """Return an id, shortened if it is random."""
    found = _RANDOM.fullmatch(text)
    return text if found is None else text[:8] + text[36:]


def size(value: float | None) -> str:
    """Return a number of bytes as text: `0`, `512B`, `1.5K`, `23M`."""
    if value is None:
        return "-"
    if value < 1:
        return "0"
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f}{unit}" if unit == "B" or value >= 99.5 else f"{value:.1f}{unit}"
        value /= 1024
    return ""


def rate(value: float | None) -> str:
    """Return events per second as text: `0`, `0.4`, `12`."""
    if value is None:
        return "-"
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"


def seconds(value: float | None) -> str:
    """Return a duration as text: `12s`, `3m05s`, `2h10m`, `5d03h`."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f}s"
    whole = int(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def milliseconds(value: float | None) -> str:
    """Return a duration in seconds as text: `0.3ms`, `12ms`, `1.2s`."""
    if value is None:
        return "-"
    ms = value * 1000
    return f"{value:.1f}s" if ms >= 1000 else f"{ms:.0f}ms" if ms >= 10 else f"{ms:.1f}ms"


def plot(values: Sequence[float], width: int) -> str:
    """Return the last values as bars, the newest at the right; the highest value fills its character."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return (_BARS[0] * len(shown)).rjust(width)
    return "".join(_BARS[min(int(each / top * len(_BARS)), len(_BARS) - 1)] for each in shown).rjust(width)
