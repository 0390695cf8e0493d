"""Limit of concurrent connections of one listener: at the limit, a new connection replaces the least useful one. Pure.

Owns the set of connections and the choice. The source with the most connections loses one, an idle one first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

MAX_CONNECTIONS = 200


class Stage(IntEnum):
    """Progress of a connection, in the order in which connections are closed for others."""

    IDLE = 0  # has had a response, and has no request
    SILENT = 1  # has not sent a whole request, or does not read its response
    BUSY = 2  # has had a response, and waits for another
    FRESH = 3  # has just connected, and has sent nothing yet
    FIRST = 4  # waits for its first response


class Member(Protocol):
    """Connection that can be closed for another."""

    source: str

    @property
    def stage(self) -> Stage: ...

    @property
    def since(self) -> float:
        """Time at which the connection reached its stage, in seconds of any clock."""

    def close(self) -> None:
        """Close after the pending output."""

    def abort(self) -> None:
        """Close at once; the connection calls `ConnectionLimit.remove`."""


class ConnectionLimit:
    """Connections of one listener, and the choice of the one that is closed for a new one.

    Args:
        most: maximum concurrent connections.
        reached: counts connections that were closed for others or refused.

    """

    def __init__(self, most: int, reached: Counter[str]) -> None:
        self._most = most
        self.reached = reached
        self._members: dict[Member, None] = {}
        self._sources: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members))

    def add(self, new: Member) -> bool:
        """Add a connection, and close another one at the limit. Return False if the new one must be closed."""
        if len(self._members) >= self._most:
            self.reached["health_connections"] += 1
            victim = self._victim(new.source)
            if victim is None:
                return False
            self.remove(victim)
            victim.abort()
        self._members[new] = None
        self._sources[new.source] += 1
        return True

    def remove(self, member: Member) -> None:
        """Remove a connection. May be called twice."""
        if member in self._members:
            del self._members[member]
            self._sources[member.source] -= 1
            if not self._sources[member.source]:
                del self._sources[member.source]

    def _victim(self, source: str) -> Member | None:
        largest, count = max(self._sources.items(), key=lambda item: item[1])
        victim = min(
            (each for each in self._members if each.source == largest), key=lambda each: (each.stage, each.since)
        )
        if victim.stage is Stage.FIRST and self._sources[source] + 1 >= count:
            return None  # all wait for their first response, and the new one's source has no fewer connections
        return victim
