"""Memory budgets in bytes: of the process, and of each tunnel. Pure, plain integers.

Bytes are counted while they wait in this process for a tunnel or a socket to take them. Data that passes straight
through is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(slots=True)
class MemoryBudget:
    """Memory limits of one process and what is used of them. Sizes in bytes."""

    process_budget: int = 256 * MIB  # over it, new dials are refused; open connections are kept
    tunnel_budget: int = 64 * MIB  # the same for the connections of one tunnel
    connection_budget: int = 1 * MIB  # one connection of a peer without credit, before the shared stream is held
    initial_window: int = 64 * KIB  # credit of a new connection, per direction
    max_window: int = 32 * MIB  # largest window of a connection
    growth_budget: int = 128 * MIB  # all windows together, above their initial size
    used: int = 0
    grown: int = 0
    refused_dials: int = 0

    def book(self, size: int) -> None:
        """Count `size` bytes more (or fewer, if negative) as buffered."""
        self.used += size

    def reserve_growth(self, size: int) -> bool:
        """Reserve `size` bytes of window growth; return False if the process has no room for them."""
        if self.grown + size > self.growth_budget or self.used > self.process_budget // 2:
            return False
        self.grown += size
        return True

    def release_growth(self, size: int) -> None:
        """Return `size` bytes of reserved window growth."""
        self.grown -= size

    def refuse_dial(self) -> None:
        """Count a dial that was refused for lack of memory."""
        self.refused_dials += 1

    @property
    def exhausted(self) -> bool:
        """Return whether the process buffers as much as it may."""
        return self.used >= self.process_budget


class TunnelMemory:
    """Account of the bytes buffered for the connections of one tunnel; every byte counts for the process, too."""

    __slots__ = ("budget", "used")

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.used = 0

    def book(self, size: int) -> None:
        """Count `size` bytes more (or fewer, if negative) as buffered."""
        self.used += size
        self.budget.book(size)

    @property
    def full(self) -> bool:
        """Return whether the connections of this tunnel buffer as much as they may."""
        return self.used >= self.budget.tunnel_budget
