"""What waits on all connections of a process for peers that do not read, and which one goes when it is too much.

Each connection has a bound of its own; this is the one of a crowd that stays below it. Asked only about connections
that have something waiting. Knows nothing of HTTP/2.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class SendBudget(Generic[T]):
    """Bytes by connection.

    Args:
        budget: bytes that may wait on all of them together.

    """

    def __init__(self, budget: int) -> None:
        self.total = 0
        self._budget = budget
        self._waiting: dict[T, int] = {}

    def note(self, connection: T, waiting: int) -> T | None:
        """So much waits on it now. Returns the one with the most, which is to be cut, if all is too much."""
        self.total += waiting - self._waiting.get(connection, 0)
        self._waiting[connection] = waiting
        if self.total <= self._budget:
            return None
        return max(self._waiting, key=self._waiting.__getitem__)

    def forget(self, connection: T) -> None:
        """It is read again, or gone."""
        self.total -= self._waiting.pop(connection, 0)
