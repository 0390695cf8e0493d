"""Budget of header fields: a total, and an equal share for each connection beyond it."""

from __future__ import annotations

from konnectivity.grpc.budgets.header_budget import ConnectionHeaders, HeaderBudget


def test_one_connection_may_hold_all() -> None:
    budget = HeaderBudget(100)
    assert budget.reserve(0, 100)
    assert not budget.reserve(100, 1)
    budget.release(100, 100)
    assert budget.used == 0
    assert budget.reserve(0, 100)


def test_a_full_budget_leaves_an_equal_share_to_others() -> None:
    budget = HeaderBudget(100)
    assert budget.reserve(0, 100)
    assert not budget.reserve(0, 51)
    assert budget.reserve(0, 50)
    assert not budget.reserve(50, 1)
    assert not budget.reserve(100, 1)
    assert budget.reserve(0, 33)
    assert budget.used == 183


def test_who_gives_all_back_is_no_holder() -> None:
    budget = HeaderBudget(100)
    assert budget.reserve(0, 60)
    assert budget.reserve(0, 40)
    budget.release(40, 10)
    budget.release(30, 30)
    assert budget.reserve(60, 40)
    assert not budget.reserve(0, 51)
    assert budget.reserve(0, 50)


def test_a_crowd_holds_little_more_than_the_total() -> None:
    budget = HeaderBudget(10_000)
    for _ in range(1000):
        held = 0
        while budget.reserve(held, 10):
            held += 10
    assert budget.used < 8 * 10_000


def test_a_connection_keeps_to_its_own_limit_and_to_that_of_the_process() -> None:
    budget = HeaderBudget(100)
    first, second = ConnectionHeaders(80, budget), ConnectionHeaders(80, budget)
    assert first.reserve(80) == ""
    assert first.reserve(1) == "header_bytes"
    assert second.reserve(60) == "header_bytes_total"
    assert second.reserve(50) == ""
    first.release(80)
    second.release(50)
    assert (first.held, second.held, budget.used) == (0, 0, 0)


def test_a_connection_without_a_common_budget_has_its_own_limit_only() -> None:
    headers = ConnectionHeaders(10, None)
    assert headers.reserve(10) == ""
    headers.release(0)
    assert headers.reserve(1) == "header_bytes"


def test_a_tenant_over_its_share_takes_nothing_from_another() -> None:
    whole = HeaderBudget(100)
    noisy, quiet = whole.part(25), whole.part(25)
    assert noisy.reserve(0, 25)
    assert not noisy.reserve(25, 1)
    assert quiet.reserve(0, 25)
    assert whole.used == 50


def test_a_full_process_leaves_each_tenant_its_equal_share() -> None:
    whole = HeaderBudget(100)
    first, second, third = (whole.part(60) for _ in range(3))
    assert first.reserve(0, 60)
    assert second.reserve(0, 40)
    assert not third.reserve(0, 34)
    assert third.reserve(0, 33)
    assert not third.reserve(33, 1)
    first.release(60, 60)
    assert third.reserve(33, 20)
    second.release(40, 40)
    third.release(53, 53)
    assert (first.used, second.used, third.used, whole.used) == (0, 0, 0, 0)
    assert first.reserve(0, 60)
