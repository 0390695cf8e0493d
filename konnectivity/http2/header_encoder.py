"""HPACK encoder (RFC 7541) that uses the static table only: what it sends changes no state at the peer. Pure.

A connection of long-lived streams sends few header blocks, so a dynamic table would save few bytes, and would cost
memory and time for each connection. Strings are sent without Huffman code: the time of encoding is linear.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from konnectivity.http2.header_table import STATIC, TABLE_SIZE

_INDEXED = 0x80
_SIZE_UPDATE = 0x20
_LITERAL = 0x00  # without indexing
_NAMES = 256  # names whose encoding is kept

_STATIC = [(name.decode(), value.decode()) for name, value in STATIC]
_INDEX_OF_FIELD = {field: number for number, field in reversed(list(enumerate(_STATIC, 1))) if field[1]}
_INDEX_OF_NAME = {name: number for number, (name, _) in reversed(list(enumerate(_STATIC, 1)))}


class HeaderEncoder:
    """Encoder of one side's header blocks. Owns the size of the dynamic table, which it must announce (section 4.2)."""

    __slots__ = ("_announced", "_size", "_smallest")

    def __init__(self) -> None:
        self._announced = self._smallest = self._size = TABLE_SIZE

    def limit_table(self, size: int) -> None:
        """Apply the peer's SETTINGS_HEADER_TABLE_SIZE."""
        self._size = min(size, TABLE_SIZE)
        self._smallest = min(self._smallest, self._size)

    def encode(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Return the block of these header fields, whose names are in lower case."""
        parts = [] if self._smallest == self._size == self._announced else self._size_updates()
        for field in headers:
            index = _INDEX_OF_FIELD.get(field)
            if index is not None:
                parts.append(_integer(index, 0x7F, _INDEXED))
            else:
                name, value = field
                content = value.encode()
                parts += (_name(name), _integer(len(content), 0x7F, 0), content)
        return b"".join(parts)

    def _size_updates(self) -> list[bytes]:
        """Return the announcement of the smallest and of the last size of the table since the last block."""
        found = []
        for size in (self._smallest, self._size):
            if size != self._announced:
                found.append(_integer(size, 0x1F, _SIZE_UPDATE))
                self._announced = size
        self._smallest = self._size
        return found


@lru_cache(_NAMES)
def _name(name: str) -> bytes:
    """Return the beginning of a literal field: its name, as an index of the static table or as a string."""
    index = _INDEX_OF_NAME.get(name)
    if index is not None:
        return _integer(index, 0x0F, _LITERAL)
    content = name.encode()
    return bytes((_LITERAL,)) + _integer(len(content), 0x7F, 0) + content


def _integer(value: int, mask: int, first: int) -> bytes:
    """Encode an integer with a prefix of `mask` (RFC 7541 section 5.1) behind the bits `first`."""
    if value < mask:
        return bytes((first | value,))
    out = bytearray((first | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
