"""TLS server names of tenants: exact names, and wildcards of one label. Pure.

Owns the names in use. An exact name has precedence over a wildcard. Does not know what stands behind a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
WILDCARD = "*."


class ServerNames(Generic[T]):
    """Holders of TLS server names."""

    def __init__(self) -> None:
        self._holders: dict[str, T] = {}

    def __len__(self) -> int:
        """Return the number of names and wildcards."""
        return len(self._holders)

    def add(self, names: Iterable[str], holder: T) -> None:
        """Let a holder have some names, which no one else may have."""
        for name in names:
            self._holders[normal(name)] = holder

    def remove(self, names: Iterable[str], holder: T) -> None:
        """Take names away from a holder, as far as it has them."""
        for name in map(normal, names):
            if self._holders.get(name) is holder:
                del self._holders[name]

    def holder_of(self, name: str) -> T | None:
        """Return the holder of exactly this name or wildcard, or None."""
        return self._holders.get(normal(name))

    def find(self, name: str | None) -> T | None:
        """Return the holder that a client means, by the server name that it asks for, or None."""
        if not name:
            return None
        asked = normal(name)
        label, dot, rest = asked.partition(".")
        if not label or "*" in asked:
            return None
        return self._holders.get(asked) or (self._holders.get(WILDCARD + rest) if dot and rest else None)


def normal(name: str) -> str:
    """Return the spelling of a name in lower case and without a final dot."""
    return name.lower().removesuffix(".")
