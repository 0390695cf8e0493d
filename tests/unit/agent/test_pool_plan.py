"""Plan of a server pool, called step by step with times that the test chooses."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT
from konnectivity_agent.pool_plan import MAX_TRIES, DialAddress, PoolPlan

A, B, C = (DialAddress("balancer", 8132), DialAddress("two.example", 8132), DialAddress("three.example", 8132))


def plan(*addresses: DialAddress, forever: bool = False) -> PoolPlan:
    made = PoolPlan(1.0, 10.0, forever, Random(7))
    made.resolved(addresses)
    return made


def test_every_address_is_dialled_at_once():
    made = plan(A, B, C)
    assert [one.address for one in made.next(0.0, 0, 1)] == [A, B, C]
    assert made.next(0.0, 0, 1) == []  # the dials are under way


def test_behind_a_balancer_it_searches_until_all_servers_are_connected():
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.1)
    searched = made.next(0.1, 1, 3)  # the server announced three servers
    assert [one.address for one in searched] == [A, A]
    made.duplicate(one, "server-1", 0.2)
    made.connected(one, "server-2", 0.2)
    assert len(made.next(0.2, 2, 3)) == 1
    made.duplicate(one, "server-2", 0.3)
    assert made.next(0.3, 2, 3) == []  # a duplicate: the next search is an interval later
    assert 0.5 < made.due(0.3, 2, 3) <= 1.1
    (last,) = made.next(1.5, 2, 3)
    made.connected(last, "server-3", 1.6)
    assert made.next(1.6, 3, 3) == []
    assert made.due(1.6, 3, 3) == 10.0


def test_searches_that_find_no_new_server_become_rare_until_there_is_news():
    """Two servers are announced and only one exists, as when a control plane is scaled down."""
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    now, waits = 0.0, []
    for _ in range(20):
        (found,) = made.next(now, 1, 2)
        made.duplicate(found, "server-1", now)
        waits.append(made.due(now, 1, 2))
        now += waits[-1]
    assert all(1 <= wait <= 1.1 for wait in waits[:8])
    assert all(10 <= wait <= 11 for wait in waits[-4:])
    made.hurry(now)
    assert made.due(now, 1, 2) <= 0.2


def test_with_sync_forever_it_searches_though_all_servers_are_connected():
    made = plan(A, forever=True)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    for second in range(1, 5):
        (found,) = made.next(second * 1.2, 1, 1)
        made.duplicate(found, "server-1", second * 1.2)
        assert made.next(second * 1.2, 1, 1) == []


def test_failures_back_off_by_half_as_much_again_up_to_the_cap():
    made = plan(A)
    now, waits = 0.0, []
    for _ in range(9):
        (one,) = made.next(now, 0, 1)
        made.failed(one, now)
        waits.append(made.due(now, 0, 1))
        assert made.next(now + waits[-1] - 0.001, 0, 1) == []
        now += waits[-1]
    steps = [1, 1.5, 2.25, 3.375, 5.0625, 7.59, 10, 10, 10]
    assert all(step <= wait <= step * 1.101 for step, wait in zip(steps, waits, strict=True))


def test_success_ends_the_back_off():
    made = plan(A)
    for now in (0.0, 2.0):
        (one,) = made.next(now, 0, 1)
        made.failed(one, now)
    (one,) = made.next(10.0, 0, 1)
    made.connected(one, "server-1", 10.0)
    made.lost("server-1", 20.0)
    assert made.due(20.0, 0, 1) <= 1.0
    (one,) = made.next(21.0, 0, 1)
    made.failed(one, 21.0)
    assert made.due(21.0, 0, 1) <= 1.1


def test_a_lost_server_is_dialled_again_within_one_interval():
    made = plan(A, B)
    for one, name in zip(made.next(0.0, 0, 1), ("server-1", "server-2"), strict=True):
        made.connected(one, name, 0.0)
    made.lost("server-2", 5.0)
    assert [one.address for one in made.next(6.0, 1, 2)] == [B]


def test_an_address_that_fails_does_not_keep_the_plan_from_searching():
    made = plan(A, B)
    good, bad = made.next(0.0, 0, 1)
    made.connected(good, "server-1", 0.0)
    made.failed(bad, 0.0)
    assert [one.address for one in made.next(0.5, 1, 3)] == [A, A]


def test_two_addresses_of_one_server_are_both_served():
    made = plan(A, B)
    one, other = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    made.duplicate(other, "server-1", 0.1)
    assert made.next(5.0, 1, 1) == []
    made.lost("server-1", 6.0)
    assert len(made.next(7.0, 0, 1)) == 2


def test_news_of_servers_ends_waiting():
    made = plan(A, B)
    one, other = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    for now in (0.0, 2.0, 4.0, 8.0):
        made.failed(other, now)
        other.tries += 1
    other.tries -= 1
    assert made.due(8.0, 1, 1) > 2.0
    made.hurry(8.0)
    assert [one.address for one in made.next(8.2, 1, 2)] == [B]


def test_an_address_that_left_the_name_is_kept_while_its_tunnel_lasts():
    made = plan(A, B)
    one, other = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    made.failed(other, 0.0)
    made.resolved([C])
    assert set(made.addresses) == {A, C}
    made.lost("server-1", 1.0)
    made.resolved([C])
    assert set(made.addresses) == {C}


def test_no_more_than_a_few_searches_run_at_a_time():
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    assert len(made.next(0.0, 1, 100)) == MAX_TRIES


@pytest.mark.parametrize("forever", [False, True])
def test_whatever_happens_it_neither_spins_nor_sleeps_for_good(forever):
    """The plan is never due again at once without an address to dial, and always due while a server is missing."""
    for seed in range(500):
        check_random_outcomes(Random(seed), plan(A, B, forever=forever), seed)


def check_random_outcomes(chance: Random, made: PoolPlan, seed: int) -> None:
    connected: set[str] = set()
    count, now, idle = chance.randint(1, 4), 0.0, 0
    for _ in range(60):
        tries = made.next(now, len(connected), count)
        for one in tries:
            server = f"server-{chance.randint(1, count)}"
            if chance.random() < 0.5:
                made.failed(one, now)
            elif server in connected:
                made.duplicate(one, server, now)
            else:
                connected.add(server)
                made.connected(one, server, now)
        if connected and chance.random() < 0.1:
            gone = min(connected)
            connected.discard(gone)
            made.lost(gone, now)
        wait = made.due(now, len(connected), count)
        assert 0.01 <= wait <= 11.0, seed
        idle = idle + 1 if not tries and wait < 0.02 else 0
        assert idle < 3, f"it spins with seed {seed}"
        now += wait
    assert all(one.tries == 0 for one in made.addresses.values()), seed


def test_an_unavailable_server_is_searched_behind_its_own_address():
    made = plan(A, B, C)
    for one, name in zip(made.next(0.0, 0, 1), ("server-1", "server-2", "server-3"), strict=True):
        made.connected(one, name, 0.0)
    assert made.next(20.0, 3, 3) == []
    made.mark_unavailable("server-2", 20.0)
    assert made.due(20.0, 2, 3) <= 0.2
    all_searched = [
        made.next(at, 2, 3) for at in (20.2, 26.0, 32.0, 38.0)
    ]  # each is slow: it waits for a host that is gone
    assert all(len(searched) == 1 for searched in all_searched)
    assert sum(searched[0].address == B for searched in all_searched) >= 2
    made.mark_available("server-2")
    assert made.next(60.0, 3, 3) == []


def test_a_few_slow_tries_keep_no_others_from_being_made_but_many_do():
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    made.mark_unavailable("server-1", 20.0)
    assert sum(len(made.next(20.2 + 6 * step, 0, 1)) for step in range(20)) == MAX_TRIES


@pytest.mark.parametrize("way_s", [0.001, 20.0])
def test_after_a_planned_departure_no_pause_is_longer_than_2_s(way_s):
    """While the old server drains, dials are refused, or wait for an address that is gone."""
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    now, pending, tries = 100.0, [], []
    made.mark_unavailable("server-1", now)
    while now < 170.0:
        if now < 130.0:
            made.expect_return(now)
        elif one.servers:
            made.expect_return(now)
            made.lost("server-1", now)
        for end in [end for end in pending if end <= now]:
            pending.remove(end)
            made.failed(one, now)
        for each in made.next(now, 0, 1):
            tries.append(now)
            pending.append(now + way_s)
            assert each is one
        now += 0.05
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert max(pauses) <= (2.0 if way_s < 1 else 10.0)
    assert min(after for after in tries if after >= 130.0) <= 131.7


def test_a_loss_forgets_what_failed_before_it():
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    for now in range(10, 40, 2):
        one.tries += 1
        made.failed(one, now)
    made.lost("server-1", 40.0)
    assert made.due(40.0, 0, 1) <= 1.0
    assert made.next(41.0, 0, 1) == [one]
    made.failed(one, 41.0)
    assert made.due(41.0, 0, 1) <= 1.1


def test_a_server_that_accepts_and_hangs_up_is_tried_ever_more_rarely():
    made = plan(A)
    now, tries = 0.0, 0
    while now < 100.0:
        for one in made.next(now, 0, 1):
            tries += 1
            made.connected(one, f"server-{tries}", now)
            made.hurry(now)  # the other server announces its end as well
            made.lost(f"server-{tries}", now + 0.01)
        now += max(0.02, made.due(now, 0, 1))
    assert tries < 110


def test_one_bad_server_behind_a_balancer_causes_no_storm_of_tries():
    """The bad server has a new id at each dial and closes the connection, while another server is well."""
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "good", 0.0)
    now, tries = 10.0, 0
    while now < 110.0:
        for each in made.next(now, 1, 2):
            tries += 1
            made.connected(each, f"bad-{tries}", now)
            made.hurry(now)
            made.lost(f"bad-{tries}", now + 0.01)
        now += 0.02
    assert tries < 60


def test_an_announced_count_that_is_far_too_large_does_not_keep_it_searching():
    made = plan(A)
    (one,) = made.next(0.0, 0, 1)
    made.connected(one, "server-1", 0.0)
    now, tries = 0.0, 0
    count = MAX_SERVER_COUNT
    while now < 600.0:
        for each in made.next(now, 1, count):
            tries += 1
            made.duplicate(each, "server-1", now)
        now += made.due(now, 1, count)
    assert tries < 500
    assert made.search_failed(count)
