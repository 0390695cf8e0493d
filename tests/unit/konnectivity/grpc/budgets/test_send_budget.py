"""Send budget: bytes that wait on all connections together."""

from __future__ import annotations

from konnectivity.grpc.budgets.send_budget import SendBudget


def test_over_the_budget_the_one_with_the_most_is_named():
    unsent = SendBudget(100)
    assert unsent.note("a", 50) is None
    assert unsent.note("b", 30) is None
    assert unsent.note("b", 20) is None  # bytes that wait now, not bytes added
    assert unsent.total == 70
    assert unsent.note("c", 31) == "a"
    unsent.forget("a")
    assert unsent.total == 51
    assert unsent.note("c", 80) is None
    assert unsent.note("c", 81) == "c"


def test_who_is_forgotten_twice_or_was_never_there_changes_nothing():
    unsent = SendBudget(100)
    unsent.note("a", 10)
    for _ in range(2):
        unsent.forget("a")
        unsent.forget("b")
    assert unsent.total == 0
