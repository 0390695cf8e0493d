"""Number of servers to look for, from leases and from announcements."""

from __future__ import annotations

import pytest

from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT
from konnectivity_agent.server_count import CHANGE_INTERVAL_S, ServerCount


@pytest.mark.parametrize(
    ("source", "leases", "announced", "expected"),
    [
        ("default", None, 3, 3),
        ("default", None, 0, 1),
        ("default", 2, 5, 2),
        ("", 2, 5, 2),
        ("max", 2, 5, 5),
        ("max", 7, 5, 7),
        ("max", None, 5, 5),
        ("default", 0, 5, 1),
        ("default", None, -1, 1),
        ("default", None, 2**31 - 1, MAX_SERVER_COUNT),
        ("max", 2, 2**31 - 1, MAX_SERVER_COUNT),
    ],
)
def test_the_count_depends_on_the_source_and_on_whether_leases_are_counted(source, leases, announced, expected):
    count = ServerCount(source)
    if leases is not None:
        count.leases_counted(leases)
    count.greeted(announced)
    assert count.value == expected


def test_before_any_server_answers_the_count_is_one():
    assert ServerCount("default").value == 1


def test_the_first_change_is_taken_at_once_and_the_next_an_interval_later():
    count = ServerCount("default")
    assert count.announced(3, 10.0) == 0.0
    assert count.value == 1  # until it is taken
    assert count.take(10.0) == 3
    assert count.value == 3
    assert count.announced(4, 10.2) == pytest.approx(CHANGE_INTERVAL_S - 0.2)


def test_of_announcements_in_quick_succession_the_last_one_is_taken():
    count = ServerCount("default")
    for announced in (2, 7, 5):
        assert count.announced(announced, 10.0) is not None
    assert count.take(10.0) == 5


def test_an_announcement_that_is_taken_back_changes_nothing():
    count = ServerCount("default")
    count.greeted(3)
    assert count.announced(4, 10.0) is not None
    assert count.announced(3, 10.5) is None
    assert count.take(11.0) is None
    assert count.value == 3


@pytest.mark.parametrize("announced", [0, -5])
def test_an_announcement_of_no_servers_is_ignored(announced):
    count = ServerCount("default")
    count.greeted(3)
    assert count.announced(announced, 10.0) is None
    assert count.value == 3


def test_a_huge_announcement_is_cut():
    count = ServerCount("default")
    count.announced(2**62, 0.0)
    assert count.take(0.0) == MAX_SERVER_COUNT
