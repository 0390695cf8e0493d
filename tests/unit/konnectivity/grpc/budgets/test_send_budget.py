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


def test_a_tenant_over_its_share_cuts_its_own_connection_with_the_most():
    whole = SendBudget(100)
    noisy, quiet = whole.part(25), whole.part(25)
    assert quiet.note("quiet", 24) is None
    assert noisy.note("small", 5) is None
    assert noisy.note("large", 20) is None
    assert noisy.note("small", 6) == "large"
    assert (noisy.total, quiet.total, whole.total) == (26, 24, 50)


def test_if_all_tenants_exceed_the_whole_the_one_with_the_most_gives_way():
    whole = SendBudget(100)
    tenants = [whole.part(60) for _ in range(3)]
    assert tenants[0].note("most", 50) is None
    assert tenants[1].note("little", 10) is None
    assert tenants[2].note("some", 40) is None
    assert tenants[1].note("little", 11) == "most"
    tenants[0].forget("most")
    assert whole.total == 51
    assert tenants[1].note("little", 60) is None
    assert tenants[2].note("some", 41) == "little"
    for tenant, connection in zip(tenants, ("most", "little", "some"), strict=True):
        tenant.forget(connection)
    assert whole.total == 0
