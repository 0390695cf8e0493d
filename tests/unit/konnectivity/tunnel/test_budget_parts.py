"""Tests of the memory budget of a tenant, which is a part of that of the process."""

from __future__ import annotations

import pytest

from konnectivity.tunnel.memory_budget import MIB, MemoryBudget, TunnelMemory


class Flow:
    """Connection whose local side takes nothing."""

    def __init__(self, tunnel: TunnelMemory, size: int) -> None:
        self.backlog = size
        self.resets: list[str] = []
        self._tunnel = tunnel
        tunnel.budget.stall(self)
        tunnel.book_backlog(size)

    def over_budget(self, reason: str) -> None:
        self.resets.append(reason)
        self._tunnel.book_backlog(-self.backlog)
        self.backlog = 0


@pytest.fixture
def whole():
    return MemoryBudget(process_budget=100 * MIB, growth_budget=75 * MIB)


def test_bytes_of_a_tenant_count_for_the_process_and_not_for_another_tenant(whole):
    one, other = whole.part(40 * MIB), whole.part(40 * MIB)
    TunnelMemory(one).book(41 * MIB)
    assert (one.used, other.used, whole.used) == (41 * MIB, 0, 41 * MIB)
    assert (one.exhausted, other.exhausted) == (True, False)
    assert one.reserve_growth(MIB) is False
    assert other.reserve_growth(MIB) is True
    assert whole.grown == MIB
    other.release_growth(MIB)
    assert (other.grown, whole.grown) == (0, 0)


def test_a_tenant_over_its_own_budget_resets_its_own_connections(whole):
    one, other = whole.part(20 * MIB), whole.part(20 * MIB)
    flows = [Flow(TunnelMemory(one), size * MIB) for size in (10, 15)]
    bystander = Flow(TunnelMemory(other), 19 * MIB)
    assert one.overdrawn
    one.relieve()
    assert [len(flow.resets) for flow in flows] == [0, 1]
    assert bystander.resets == []


def test_if_all_together_hold_too_much_the_largest_tenant_gives_way(whole):
    small, large = whole.part(60 * MIB), whole.part(60 * MIB)
    mine = Flow(TunnelMemory(small), 49 * MIB)
    theirs = [Flow(TunnelMemory(large), 30 * MIB) for _ in range(2)]
    assert small.overdrawn
    small.relieve()
    assert mine.resets == []
    assert sorted(len(flow.resets) for flow in theirs) == [0, 1]
    assert whole.backlog == 79 * MIB
    assert "--process-buffer-budget of all is" in "".join(theirs[0].resets + theirs[1].resets)


def test_a_tenant_without_stalled_connections_is_no_part_that_gives_way(whole):
    one = whole.part(60 * MIB)
    flow = Flow(TunnelMemory(one), MIB)
    assert whole.parts == [one]
    one.stall_ended(flow)
    one.stall_ended(flow)
    assert whole.parts == []
