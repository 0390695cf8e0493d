"""Byte budgets of one process: what is buffered, what was promised, and when to say no. Pure, plain ints.

Counted is what waits here because somebody does not take it: data behind a tunnel, data behind a socket. Data that
passes straight through is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(slots=True)
class MemoryBudget:
    """One per process. Sizes in bytes."""

    process_budget: int = 256 * MIB  # over it, new dials are refused; connections that live go on
    tunnel_budget: int = 64 * MIB  # the same for the connections of one tunnel
    connection_budget: int = 1 * MIB  # one connection of a peer without credit, before the shared stream is held
    initial_window: int = 64 * KIB  # credit a connection starts with, per direction
    max_window: int = 32 * MIB  # and what it may grow to
    growth_budget: int = 128 * MIB  # all windows together, above their initial size
    used: int = 0
    grown: int = 0
    refused_dials: int = 0

    def grow(self, size: int) -> bool:
        """Whether a window may be `size` bytes larger; books it."""
        if self.grown + size > self.growth_budget or self.used > self.process_budget // 2:
            return False
        self.grown += size
        return True

    @property
    def exhausted(self) -> bool:
        return self.used >= self.process_budget
