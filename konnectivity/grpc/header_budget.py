"""Budget in bytes for the header fields that the calls of one process hold, shared among its connections. Pure.

Each connection has a limit of its own; this one bounds a crowd that stays below that. Knows nothing of HTTP/2.
"""

from __future__ import annotations


class HeaderBudget:
    """Bytes held on all connections. When they are spent, a connection may still hold its equal share of the total.

    Args:
        total: bytes on all connections together.

    """

    def __init__(self, total: int) -> None:
        self.used = 0
        self._total = total
        self._holders = 0  # connections that hold something

    def reserve(self, held: int, size: int) -> bool:
        """Book `size` bytes for a connection that holds `held`; return False, and book nothing, if that is too much."""
        holders = self._holders + (not held)
        if self.used + size > self._total and held + size > self._total // holders:
            return False
        self.used += size
        self._holders = holders
        return True

    def release(self, held: int, size: int) -> None:
        """Give back `size` of the `held` bytes of a connection."""
        self.used -= size
        if held == size:
            self._holders -= 1
