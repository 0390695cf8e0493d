"""Mapping bounded in entries and in bytes, for keys that peers choose. Pure.

Owns the entries and the sum of their sizes. Does not know their meaning, nor a clock: an entry that expires contains
its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import getsizeof
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY_BYTES = 200  # memory of an entry beside its key and value: the slot in the dict and the record of its size


def size_of(*parts: Any) -> int:
    """Return the bytes of memory of `parts`: texts, numbers, and tuples of them, to any depth."""
    found, rest = 0, list(parts)
    while rest:
        part = rest.pop()
        found += getsizeof(part)
        if isinstance(part, tuple):
            rest.extend(part)
    return found


class BoundedMap(Generic[K, V]):
    """Mapping that removes the entry written longest ago when a new one does not fit.

    Args:
        max_entries: maximum number of entries.
        max_bytes: maximum sum of the sizes of all entries; a single larger entry is not kept.
        size: returns the bytes of memory of a key and its value, without `ENTRY_BYTES`.

    """

    __slots__ = ("_entries", "_size", "bytes", "max_bytes", "max_entries")

    def __init__(self, max_entries: int, max_bytes: int, size: Callable[[K, V], int] = size_of) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self._size = size
        self._entries: dict[K, tuple[V, int]] = {}  # values with their sizes, in the order of writing

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __setitem__(self, key: K, value: V) -> None:
        """Write an entry, and remove those written longest ago until all fit."""
        self.pop(key)
        size = self._size(key, value) + ENTRY_BYTES
        if size > self.max_bytes or self.max_entries < 1:
            return
        while len(self._entries) >= self.max_entries or self.bytes + size > self.max_bytes:
            self.pop(next(iter(self._entries)))
        self._entries[key] = value, size
        self.bytes += size

    def get(self, key: K) -> V | None:
        """Return the value of `key`, or None."""
        found = self._entries.get(key)
        return None if found is None else found[0]

    def pop(self, key: K) -> V | None:
        """Remove `key` and return its value, or None."""
        found = self._entries.pop(key, None)
        if found is None:
            return None
        self.bytes -= found[1]
        return found[0]

    def newest(self) -> Iterator[tuple[K, V]]:
        """Return keys and values, the one written last first."""
        return ((key, value) for key, (value, _) in reversed(self._entries.items()))
