"""Reasons of failures that last, so that the log has one line per change and none per repetition. Pure.

Owns the reason of each failing thing that the log showed last. Writes no line itself, and knows no clock.
"""

from __future__ import annotations

from konnectivity.untrusted.bounded_map import BoundedMap

MAX_KEYS = 10_000
MAX_BYTES = 4 * 1024 * 1024  # memory of all keys and reasons: peers choose parts of both


class LoggedReasons:
    """Reason of each failing thing, as the log showed it last.

    Args:
        max_keys: number of things that are remembered; the one whose reason changed longest ago is forgotten first.
        max_bytes: memory of all keys and reasons, in bytes.

    """

    __slots__ = ("_reasons",)

    def __init__(self, max_keys: int = MAX_KEYS, max_bytes: int = MAX_BYTES) -> None:
        self._reasons: BoundedMap[str, str] = BoundedMap(max_keys, max_bytes)

    def record(self, key: str, reason: str) -> bool:
        """Record why `key` fails, and return whether that differs from the reason recorded before: log it then."""
        if self._reasons.get(key) == reason:
            return False
        self._reasons[key] = reason
        return True

    def clear(self, key: str) -> bool:
        """Forget the reason of `key`, which works, and return whether it was failing."""
        return self._reasons.pop(key) is not None
