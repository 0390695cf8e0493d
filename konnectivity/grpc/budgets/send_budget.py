"""Budget in bytes for the output that waits on all connections of a process for peers that do not read. Pure.

Each connection has a bound of its own; this budget bounds many connections that stay below theirs. A part of a budget
belongs to a tenant: if all parts together exceed the whole, the part with the most gives way. Only connections with
waiting output are counted. Knows nothing of HTTP/2.
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

    Attributes:
        total: bytes that wait, with those of all parts.

    Args:
        budget: bytes that may wait on all connections together.
        whole: budget that this one is a part of.

    """

    def __init__(self, budget: int, whole: SendBudget[T] | None = None) -> None:
        self.total = 0
        self._budget = budget
        self._whole = whole
        self._parts: dict[SendBudget[T], None] = {}  # parts with waiting output
        self._waiting: dict[T, int] = {}

    def part(self, share: int) -> SendBudget[T]:
        """Return the budget of a tenant, whose `share` of bytes counts for this budget, too."""
        return SendBudget(min(share, self._budget), self)

    def note(self, connection: T, waiting: int) -> T | None:
        """Record `waiting` bytes for a connection.

        Returns:
            The connection with the most waiting bytes, which must be cut, if a budget is exceeded; else None.

        """
        whole = self._whole
        if whole is not None and not self._waiting:
            whole._parts[self] = None
        self._count(waiting - self._waiting.get(connection, 0))
        self._waiting[connection] = waiting
        if self.total > self._budget:
            return self._most()
        if whole is not None and whole.total > whole._budget:
            return max(whole._parts, key=lambda part: part.total)._most()
        return None

    def forget(self, connection: T) -> None:
        """Remove a connection whose peer reads again, or that is closed."""
        self._count(-self._waiting.pop(connection, 0))
        if self._whole is not None and not self._waiting:
            self._whole._parts.pop(self, None)

    def _count(self, more: int) -> None:
        self.total += more
        if self._whole is not None:
            self._whole.total += more

    def _most(self) -> T:
        return max(self._waiting, key=self._waiting.__getitem__)
