"""Memory budgets in bytes: of the process, and of each tunnel. Pure, plain integers.

Bytes are counted while they wait in this process for a tunnel or a socket to take them. Data that passes straight
through is never counted. Credit bounds the bytes of a connection that stalls; where many connections stall together,
the one with the most bytes is reset. docs/internals/flow.md has the rule and its proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

KIB = 1024
MIB = 1024 * KIB
SHARE = 4  # a process may buffer a quarter of its memory: a waiting piece may keep a read of four times its size
PROGRAM = 24 * MIB  # memory of an agent with 100 busy connections and no buffered bytes
LEAST = 2 * MIB  # smallest share of a process
LEAST_OF_TUNNEL = 8 * MIB  # smallest share of a tunnel, if the process has as much
MOST = 256 * MIB  # largest share of a process
SMALL = 16 * MIB  # budget of a process below which first windows and reads are small
# Connections are reset when the buffered bytes exceed the process's budget by the larger of these two:
EXCESS = 16  # a sixteenth of the budget
EXCESS_WINDOWS = 4  # this number of first windows, of dials that were accepted at the same time


def process_share(memory: int, processes: int = 1) -> int:
    """Return the budget of one of `processes` processes that may use `memory` bytes together."""
    each = memory // processes
    return max(min(each // SHARE, (each - PROGRAM) // 2, MOST), LEAST)


def tunnel_share(process_budget: int) -> int:
    """Return the budget of one tunnel."""
    return min(process_budget, max(process_budget // SHARE, LEAST_OF_TUNNEL))


def first_window(process_budget: int) -> int:
    """Return the bytes that the peer of a new connection may send at first."""
    return 64 * KIB if process_budget >= SMALL else 16 * KIB


def read_size(process_budget: int) -> int:
    """Return the size in bytes of one read from a tunnel: waiting data may keep the whole read that it is part of."""
    return 256 * KIB if process_budget >= SMALL else 64 * KIB


def growth_share(process_budget: int) -> int:
    """Return the bytes by which all windows of a process may grow: the rest is for first windows."""
    return process_budget // 4 * 3


class StalledFlow(Protocol):
    """Inbound direction of a connection whose local side takes nothing at the moment.

    Attributes:
        backlog: bytes that wait for the local side.

    """

    backlog: int

    def over_budget(self, reason: str) -> None:
        """End the connection: it holds the most memory of an overdrawn budget."""


@dataclass(slots=True)
class MemoryBudget:
    """Memory limits of one process and what is used of them. Sizes in bytes."""

    process_budget: int = 256 * MIB  # over it, new dials are refused; a sixteenth above, stalled connections are reset
    tunnel_budget: int = 64 * MIB  # over it, new dials through the tunnel are refused
    connection_budget: int = 1 * MIB  # one connection of a peer without credit, before the shared stream is held
    initial_window: int = 64 * KIB  # credit of a new connection, per direction
    max_window: int = 32 * MIB  # largest window of a connection
    growth_budget: int = 192 * MIB  # all windows together, above their initial size
    used: int = 0
    grown: int = 0
    owed: int = 0  # the part of `grown` that was taken back from stalled connections, whose bytes still wait
    refused_dials: int = 0
    reset: int = 0  # connections that were reset because the budget was overdrawn
    backlog: int = 0  # the part of `used` that waits for local sides, not for tunnels
    stalled: dict[StalledFlow, None] = field(default_factory=dict)  # of all tunnels, oldest first
    whole: MemoryBudget | None = None  # budget of the process, if this one is the budget of a tenant
    parts: list[MemoryBudget] = field(default_factory=list)  # budgets of the tenants that have stalled connections

    def part(self, share: int, tunnel_share: int = 0) -> MemoryBudget:
        """Return the budget of a tenant, whose bytes count for this budget, too.

        Args:
            share: bytes of the tenant.
            tunnel_share: bytes of one tunnel of the tenant; 0: as many as of any tunnel.

        """
        share = min(share, self.process_budget)
        return MemoryBudget(
            process_budget=share,
            tunnel_budget=min(tunnel_share or self.tunnel_budget, share),
            connection_budget=self.connection_budget,
            initial_window=self.initial_window,
            max_window=self.max_window,
            growth_budget=min(growth_share(share), self.growth_budget),
            whole=self,
        )

    def is_half_free(self) -> bool:
        """Return whether less than half of the budget is used."""
        return self.used < self.process_budget // 2

    def book(self, size: int) -> None:
        """Count `size` bytes more (or fewer, if negative) as buffered."""
        self.used += size
        if self.whole is not None:
            self.whole.used += size

    def book_backlog(self, size: int) -> None:
        """Count `size` bytes more (or fewer, if negative) as waiting for local sides; `book` counts them, too."""
        self.backlog += size
        if self.whole is not None:
            self.whole.backlog += size

    def stall(self, flow: StalledFlow) -> None:
        """Add a connection whose local side takes nothing."""
        if self.whole is not None and not self.stalled:
            self.whole.parts.append(self)
        self.stalled[flow] = None

    def stall_ended(self, flow: StalledFlow) -> None:
        """Remove a connection whose local side takes bytes again, or that has ended."""
        if self.stalled.pop(flow, flow) is None and self.whole is not None and not self.stalled:
            self.whole.parts = [part for part in self.whole.parts if part is not self]

    def reserve_growth(self, size: int) -> bool:
        """Reserve `size` bytes of window growth; return False if the process has no room for them."""
        if self.grown + size > self.growth_budget or self.used - self.owed > self.process_budget // 2:
            return False
        if self.whole is not None and not self.whole.reserve_growth(size):
            return False
        self.grown += size
        return True

    def release_growth(self, size: int) -> None:
        """Return `size` bytes of reserved window growth."""
        self.grown -= size
        if self.whole is not None:
            self.whole.release_growth(size)

    def owe(self, size: int) -> None:
        """Move `size` bytes of window growth to what stalled connections hold: they are promised to none of them."""
        self.owed += size
        if self.whole is not None:
            self.whole.owe(size)

    def settle(self, size: int) -> None:
        """Return `size` bytes of window growth that were taken back, and have left."""
        self.owed -= size
        self.grown -= size
        if self.whole is not None:
            self.whole.settle(size)

    def refuse_dial(self) -> None:
        """Count a dial that was refused for lack of memory."""
        self.refused_dials += 1

    @property
    def overdrawn(self) -> bool:
        """Return whether connections must be reset: more is buffered than the refusal of dials can prevent."""
        return self._over() or (self.whole is not None and self.whole._over())

    def _over(self) -> bool:
        excess = max(self.process_budget // EXCESS, EXCESS_WINDOWS * self.initial_window)
        return self.backlog > self.process_budget + excess

    def relieve(self) -> None:
        """Reset stalled connections, the largest backlog first, until no budget is overdrawn any more.

        If all tenants together overdraw the budget of the process, the tenant with the largest backlog gives way.
        """
        while self._over() and self.stalled:
            self._reset_largest(self, "--process-buffer-budget")
        whole = self.whole
        while whole is not None and whole._over() and whole.parts:
            max(whole.parts, key=lambda part: part.backlog)._reset_largest(whole, "--process-buffer-budget of all")

    def _reset_largest(self, overdrawn: MemoryBudget, limit: str) -> None:
        """Reset the stalled connection of this budget that holds most, because a budget is overdrawn."""
        flow = max(self.stalled, key=lambda each: each.backlog)
        self.stall_ended(flow)
        if flow.backlog:
            self.reset += 1
            flow.over_budget(
                f"reset: {flow.backlog} bytes wait for a reader that stalled, the most of all connections, and "
                f"{overdrawn.backlog} bytes wait in the process; {limit} is {overdrawn.process_budget}"
            )

    @property
    def exhausted(self) -> bool:
        """Return whether the process buffers as much as it may."""
        return self.used >= self.process_budget or (self.whole is not None and self.whole.exhausted)


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

    def book_backlog(self, size: int) -> None:
        """Count `size` bytes more (or fewer, if negative) as buffered for local sides."""
        self.budget.book_backlog(size)
        self.book(size)

    @property
    def full(self) -> bool:
        """Return whether the connections of this tunnel buffer as much as they may."""
        return self.used >= self.budget.tunnel_budget
