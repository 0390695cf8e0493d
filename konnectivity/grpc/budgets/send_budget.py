"""Budget in bytes for the output that waits on all connections of a process for peers that do not read. Pure.

Each connection has a bound of its own; this budget bounds many connections that stay below theirs. Only connections
with waiting output are counted. Knows nothing of HTTP/2.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class UnreadOutput(Protocol):
    """Output of one connection, which can be dropped."""

    def cut_unread(self) -> None:
        """Drop output that waits, because this connection has the most of it."""


class SendBudget(Generic[T]):
    """Number of bytes that wait, by connection.

    Args:
        budget: bytes that may wait on all connections together.

    """

    def __init__(self, budget: int) -> None:
        self.total = 0
        self._budget = budget
        self._waiting: dict[T, int] = {}

    def note(self, connection: T, waiting: int) -> T | None:
        """Record `waiting` bytes for a connection.

        Returns:
            The connection with the most waiting bytes, which must be cut, if the budget is exceeded; else None.

        """
        self.total += waiting - self._waiting.get(connection, 0)
        self._waiting[connection] = waiting
        if self.total <= self._budget:
            return None
        return max(self._waiting, key=self._waiting.__getitem__)

    def forget(self, connection: T) -> None:
        """Remove a connection whose peer reads again, or that is closed."""
        self.total -= self._waiting.pop(connection, 0)
