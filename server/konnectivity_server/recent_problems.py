"""What went wrong lately, for people: dials that failed, agents that left. Short, and each thing once. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from konnectivity.untrusted.bounded_map import BoundedMap, size_of

KEPT = 100  # different failures
LONGEST = 300  # characters of a text that came from outside
MAX_BYTES = 1024 * 1024  # of all that is kept


@dataclass(slots=True)
class ReportedProblem:
    """Something that happened so often, first and last at a time."""

    first: float
    last: float
    count: int = 1
    more: dict[str, Any] | None = None  # about the last one


class RecentProblems:
    """The latest of their kind.

    Args:
        names: of what tells one from another.
        clock: seconds, monotonic.

    """

    def __init__(self, names: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._names = names
        self._clock = clock
        self._seen: BoundedMap[tuple[str | None, ...], ReportedProblem] = BoundedMap(KEPT, MAX_BYTES, _size)

    def add(self, *what: str | None, **more: Any) -> None:
        """It happened now. `more`: what is not the same each time."""
        key = tuple(text if text is None else _short(text) for text in what)
        now = self._clock()
        seen = self._seen.pop(key) or ReportedProblem(now, now, 0)
        seen.last, seen.count = now, seen.count + 1
        seen.more = {name: _short(value) if isinstance(value, str) else value for name, value in more.items()}
        self._seen[key] = seen

    def listed(self) -> list[dict[str, Any]]:
        """The latest first. Times in seconds before now."""
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
    return size_of(key, *(seen.more or {}).values()) + 300  # of the record itself


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
