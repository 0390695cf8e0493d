"""Connections of one listener, at most so many: a new one takes the place of the one that is missed least.

Owns the set and the choice. The source with the most connections loses one of its own; among these one that waits for
nothing goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

MAX_CONNECTIONS = 200


class Stage(IntEnum):
    """Progress of a connection, in the order in which connections are given up."""

    IDLE = 0  # has had an answer, asks for nothing
    SILENT = 1  # has not sent a whole request, or does not take its answer
    BUSY = 2  # has had an answer, and waits for another
    FRESH = 3  # has been made a moment ago, and has sent nothing yet
    FIRST = 4  # waits for its first answer


class Member(Protocol):
    """A connection as this module sees it."""

    source: str

    @property
    def stage(self) -> Stage: ...

    @property
    def since(self) -> float:
        """Return when the connection reached its stage, in seconds of any clock."""

    def close(self) -> None:
        """Close behind what was written."""

    def abort(self) -> None:
        """Close at once; `Connections.remove` is called by the connection."""


class ConnectionLimit:
    """Connections of one listener, and the choice of the one that is closed for a new one.

    Args:
        most: connections at a time.
        reached: counts the connections that were given up or refused.

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
        """Add a connection, in place of another if there are too many. Return False if the new one has to go."""
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
        """Forget a connection. May be called twice."""
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
            return None  # all wait for their first answer, and the new one is of no smaller source
        return victim
