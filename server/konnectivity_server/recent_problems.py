"""Recent problems, for people: dials that failed, agents that left. Pure.

Owns the latest of each kind, once each with a count. Bounded in number, in length and in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from konnectivity.untrusted.bounded_map import BoundedMap, size_of

KEPT = 100  # different problems
LONGEST = 300  # characters of a text from a peer
MAX_BYTES = 1024 * 1024  # memory of all problems


@dataclass(slots=True)
class ReportedProblem:
    """Problem with its count and the times of its first and last occurrence."""

    first: float
    last: float
    count: int = 1
    more: dict[str, Any] | None = None  # details of the last occurrence


class RecentProblems:
    """Recent problems of one sort.

    Args:
        names: names of the fields that tell one problem from another.
        clock: monotonic seconds.

    """

    def __init__(self, names: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._names = names
        self._clock = clock
        self._seen: BoundedMap[tuple[str | None, ...], ReportedProblem] = BoundedMap(KEPT, MAX_BYTES, _size)

    def add(self, *what: str | None, **more: Any) -> None:
        """Record a problem that happened now.

        Args:
            what: values of the fields that tell one problem from another.
            more: details that differ each time; those of the last time are kept.

        """
        key = tuple(text if text is None else _short(text) for text in what)
        now = self._clock()
        seen = self._seen.pop(key) or ReportedProblem(now, now, 0)
        seen.last, seen.count = now, seen.count + 1
        seen.more = {name: _short(value) if isinstance(value, str) else value for name, value in more.items()}
        self._seen[key] = seen

    def listed(self) -> list[dict[str, Any]]:
        """Return the problems as JSON fields, the latest first. Times are in seconds before now."""
        now = self._clock()
        return [
            {
                **dict(zip(self._names, key, strict=True)),
                "count": seen.count,
                "ago": round(now - seen.last, 3),
                "first_ago": round(now - seen.first, 3),
                **(seen.more or {}),
            }
            for key, seen in self._seen.newest()
        ]


def _size(key: tuple[str | None, ...], seen: ReportedProblem) -> int:
    return size_of(key, *(seen.more or {}).values()) + 300  # 300 bytes for the record itself


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
