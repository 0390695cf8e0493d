"""Memory budgets: used bytes, reserved bytes, and refusal when none are left."""

from __future__ import annotations

from konnectivity.tunnel.memory_budget import MemoryBudget, TunnelMemory


def test_bytes_of_a_tunnel_count_for_the_process() -> None:
    budget = MemoryBudget(process_budget=100, tunnel_budget=60)
    one, other = TunnelMemory(budget), TunnelMemory(budget)
    one.book(60)
    assert one.full
    assert not other.full
    assert not budget.exhausted
    other.book(40)
    assert budget.exhausted
    one.book(-60)
    assert (budget.used, one.used, other.used) == (40, 0, 40)
    assert not one.full


def test_windows_grow_within_the_growth_budget_and_while_little_is_buffered() -> None:
    budget = MemoryBudget(process_budget=100, growth_budget=50)
    assert budget.reserve_growth(50)
    assert not budget.reserve_growth(1)
    budget.release_growth(20)
    budget.book(51)
    assert not budget.reserve_growth(1), "more than half of the process's memory is buffered"
    budget.book(-1)
    assert budget.reserve_growth(20)
    assert budget.grown == 50


def test_refused_dials_are_counted() -> None:
    budget = MemoryBudget()
    budget.refuse_dial()
    assert budget.refused_dials == 1
