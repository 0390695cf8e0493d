"""Request and response headers of a gRPC call, and its timeout. Pure. Source: gRPC "PROTOCOL-HTTP2"."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from konnectivity import __version__
from konnectivity.untrusted.numbers import parse_decimal

Headers = list[tuple[str, str]]
USER_AGENT = f"konnectivity-python/{__version__}"
_MAX_NUMBER = 99_999_999
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
RESPONSE: Headers = [(":status", "200"), ("content-type", "application/grpc")]


class Metadata:
    """Header fields of a call, in order, names in lower case, repeated names kept.

    Args:
        fields: names and values.
        names: names of the fields to keep, in lower case; None: all are kept.

    """

    __slots__ = ("fields",)

    def __init__(self, fields: Iterable[tuple[str, str]], names: frozenset[str] | None = None) -> None:
        lowered = ((name.lower(), value) for name, value in fields)
        self.fields = [(sys.intern(name), value) for name, value in lowered if names is None or name in names]

    @property
    def size(self) -> int:
        """Memory of the values in bytes: some texts take four bytes for each character."""
        return sum(sys.getsizeof(value) for _, value in self.fields)

    def get_all(self, name: str) -> list[str]:
        """Return all values of `name`, in order."""
        return [value for key, value in self.fields if key == name]

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of `name`, or `default`."""
        return next((value for key, value in self.fields if key == name), default)


def request(path: str, authority: str, secure: bool, metadata: Mapping[str, str], timeout_s: float | None) -> Headers:
    """Return the header fields that open a call."""
    headers = [
        (":method", "POST"),
        (":scheme", "https" if secure else "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", USER_AGENT),
    ]
    if timeout_s is not None:
        headers.append(("grpc-timeout", format_timeout(timeout_s)))
    headers += [(name.lower(), value) for name, value in metadata.items()]
    return headers


def format_timeout(timeout_s: float) -> str:
    """Return a `grpc-timeout` value: milliseconds, or seconds if the milliseconds have more than 8 digits."""
    milliseconds = max(0, round(timeout_s * 1000))
    return f"{milliseconds}m" if milliseconds <= _MAX_NUMBER else f"{min(milliseconds // 1000, _MAX_NUMBER)}S"


def parse_timeout(value: str) -> float | None:
    """Return the seconds of a `grpc-timeout` value; None if it is malformed (at most 8 digits and a unit)."""
    number, unit = value[:-1], value[-1:]
    count = parse_decimal(number, _MAX_NUMBER) if len(number) <= 8 else None
    return count * _UNITS[unit] if unit in _UNITS and count is not None else None
