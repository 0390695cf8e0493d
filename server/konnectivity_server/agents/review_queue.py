"""Queue of tokens that wait for their review, in lanes. Pure.

Owns the order and its bounds. Each lane with entries gets turns by its weight; in a lane the sources take turns, then
the connections of a source, then the oldest entry is next. Does not know what an entry is, nor how its lane is chosen.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(enum.IntEnum):
    """Kinds of waiting tokens, best first. The claims of a token are not verified."""

    PROVEN = 0  # accepted before, or it names the service account's uid, which no stranger knows
    CLAIMS_RETURNING = 1  # names our audience and account, and has waited in vain before
    CLAIMS_KNOWN_SOURCE = 2  # the same, from a source of which another token was accepted
    CLAIMS = 3
    RETURNING = 4
    KNOWN_SOURCE = 5
    UNKNOWN = 6


WEIGHTS = (16, 8, 4, 2, 4, 2, 1)  # turns of each lane while all wait


@dataclass(slots=True, eq=False)
class QueuedReview(Generic[T]):
    """Entry of the queue."""

    lane: Lane
    source: str
    connection: str
    size: int  # bytes that the entry occupies while it waits
    item: T = field(init=False)


class ReviewQueue(Generic[T]):
    """Entries that wait for their review, by lane, source and connection.

    Args:
        max_entries: number of entries that wait.
        max_bytes: sum of their sizes.
        weights: turns of each lane.

    """

    def __init__(self, max_entries: int, max_bytes: int, weights: Sequence[int] = WEIGHTS) -> None:
        self.bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lanes: list[_ReviewLane[T]] = [_ReviewLane(1 / weight) for weight in weights]
        self._count = 0
        self._passed = 0.0  # virtual time of the lane that had the last turn

    def __len__(self) -> int:
        return self._count

    def add(self, entry: QueuedReview[T]) -> list[QueuedReview[T]]:
        """Let `entry` wait. Return those that wait no more because the queue is full; `entry` may be among them."""
        lane = self._lanes[entry.lane]
        if not lane.sources:
            lane.passed = max(lane.passed, self._passed)
        lane.add(entry)
        self._count += 1
        self.bytes += entry.size
        dropped = []
        while self._count > self._max_entries or self.bytes > self._max_bytes:
            dropped.append(self._worst())
            self.remove(dropped[-1])
        return dropped

    def remove(self, entry: QueuedReview[T]) -> bool:
        """Forget `entry`. Return False if it does not wait."""
        if not self._lanes[entry.lane].remove(entry):
            return False
        self._count -= 1
        self.bytes -= entry.size
        return True

    def take(self) -> QueuedReview[T] | None:
        """Remove and return the entry whose turn it is, or None."""
        waiting = [lane for lane in self._lanes if lane.sources]
        if not waiting:
            return None
        lane = min(waiting, key=lambda each: each.passed)  # the first of equals: the better lane
        self._passed = lane.passed
        lane.passed += lane.pace
        entry = lane.first()
        self.remove(entry)
        lane.served(entry)
        return entry

    def _worst(self) -> QueuedReview[T]:
        """Return the newest entry of the source that waits with the most, in the worst lane."""
        return next(lane for lane in reversed(self._lanes) if lane.sources).last_of_largest()


class _ReviewLane(Generic[T]):
    """Entries of one lane: sources in the order of their turns, and in each the connections."""

    __slots__ = ("_sizes", "pace", "passed", "sources")

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.passed = 0.0  # grows by `pace` with each turn
        self.sources: OrderedDict[str, OrderedDict[str, dict[QueuedReview[T], None]]] = OrderedDict()
        self._sizes = _Sizes()

    def add(self, entry: QueuedReview[T]) -> None:
        connections = self.sources.setdefault(entry.source, OrderedDict())
        connections.setdefault(entry.connection, {})[entry] = None
        self._sizes.change(entry.source, 1)

    def remove(self, entry: QueuedReview[T]) -> bool:
        connections = self.sources.get(entry.source, OrderedDict())
        entries = connections.get(entry.connection, {})
        if entry not in entries:
            return False
        del entries[entry]
        if not entries:
            del connections[entry.connection]
        if not connections:
            del self.sources[entry.source]
        self._sizes.change(entry.source, -1)
        return True

    def first(self) -> QueuedReview[T]:
        connections = next(iter(self.sources.values()))
        return next(iter(next(iter(connections.values()))))

    def served(self, entry: QueuedReview[T]) -> None:
        """Put the source and the connection of a removed entry behind the others."""
        connections = self.sources.get(entry.source)
        if connections is not None:
            self.sources.move_to_end(entry.source)
            if entry.connection in connections:
                connections.move_to_end(entry.connection)

    def last_of_largest(self) -> QueuedReview[T]:
        connections = self.sources[self._sizes.largest()]
        return next(reversed(next(reversed(connections.values()))))


class _Sizes:
    """Number of entries of each source; the largest is found in constant time."""

    __slots__ = ("_by_size", "_largest", "_sizes")

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self._largest = 0

    def change(self, source: str, by: int) -> None:
        """Add 1 or -1."""
        before = self._sizes.pop(source, 0)
        after = before + by
        if before:
            group = self._by_size[before]
            del group[source]
            if not group:
                del self._by_size[before]
        if after:
            self._sizes[source] = after
            self._by_size.setdefault(after, {})[source] = None
        if after > self._largest or (before == self._largest and before not in self._by_size):
            self._largest = after

    def largest(self) -> str:
        return next(iter(self._by_size[self._largest]))
