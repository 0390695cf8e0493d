"""Budgets in bytes for the header fields that open calls keep: of one connection, a tenant, and one process. Pure.

Each connection has a limit of its own; the budget of the process bounds many connections that stay below theirs. A part
of that budget belongs to a tenant, and counts in the whole as one connection does in the part.
Knows nothing of HTTP/2.
"""

from __future__ import annotations


class HeaderBudget:
    """Bytes kept on all connections. When they are spent, a connection may still keep its equal share of the total.

    Args:
        total: bytes on all connections together.
        whole: budget that this one is a part of.

    """

    def __init__(self, total: int, whole: HeaderBudget | None = None) -> None:
        self.used = 0
        self._total = total
        self._whole = whole
        self._holders = 0  # number of connections that keep something

    def part(self, share: int) -> HeaderBudget:
        """Return the budget of a tenant, whose `share` of bytes counts for this budget, too."""
        return HeaderBudget(min(share, self._total), self)

    def reserve(self, held: int, size: int) -> bool:
        """Reserve `size` bytes for a connection that keeps `held`; return False, and reserve nothing, if too much."""
        holders = self._holders + (not held)
        if self.used + size > self._total and held + size > self._total // holders:
            return False
        if self._whole is not None and not self._whole.reserve(self.used, size):
            return False
        self.used += size
        self._holders = holders
        return True

    def release(self, held: int, size: int) -> None:
        """Return `size` of the `held` bytes of a connection."""
        if self._whole is not None:
            self._whole.release(self.used, size)
        self.used -= size
        if held == size:
            self._holders -= 1


class ConnectionHeaders:
    """Bytes of header fields kept for the calls of one connection.

    Args:
        limit: bytes that this connection may keep.
        budget: budget of the process; None: only `limit` holds.

    """

    __slots__ = ("_budget", "_limit", "held")

    def __init__(self, limit: int, budget: HeaderBudget | None) -> None:
        self.held = 0
        self._limit = limit
        self._budget = budget

    def reserve(self, size: int) -> str:
        """Reserve `size` bytes for a call; return the name of the limit that forbids it, or "" on success."""
        if self.held + size > self._limit:
            return "header_bytes"
        if self._budget is not None and not self._budget.reserve(self.held, size):
            return "header_bytes_total"
        self.held += size
        return ""

    def release(self, size: int) -> None:
        """Return the `size` bytes that were reserved for a call."""
        if size and self._budget is not None:
            self._budget.release(self.held, size)
        self.held -= size
