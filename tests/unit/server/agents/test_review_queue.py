"""Queue of token reviews: lanes by weight, sources and connections in turn, and the token dropped when it is full."""

from __future__ import annotations

from collections import Counter
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from konnectivity_server.agents.review_queue import WEIGHTS, Lane, QueuedReview, ReviewQueue


def entry(item, lane=Lane.UNKNOWN, source="192.0.2.1", connection="1", size=1):
    found = QueuedReview(lane, source, connection, size)
    found.item = item
    return found


def filled(*entries, max_entries=1000, max_bytes=1_000_000):
    queue = ReviewQueue(max_entries, max_bytes)
    for each in entries:
        assert queue.add(each) == []
    return queue


def taken(queue, count=1000):
    found = []
    while len(found) < count and (each := queue.take()) is not None:
        found.append(each.item)
    return found


def test_one_connection_is_served_in_order():
    assert taken(filled(*map(entry, range(5)))) == list(range(5))


def test_an_honest_source_waits_for_one_turn_of_each_other_source():
    flood = [entry(f"flood {n}", source=f"198.51.100.{n % 3}", connection=str(n)) for n in range(300)]
    assert "honest" in taken(filled(*flood, entry("honest", source="192.0.2.9")), 4)


def test_behind_one_balancer_an_honest_connection_waits_for_one_turn_of_each_other_connection():
    flood = [entry(f"flood {n}", connection=str(n % 12)) for n in range(1200)]
    queue = filled(*flood, entry("honest", connection="honest"), max_entries=2000)
    assert "honest" in taken(queue, 13)


def test_turns_go_round_while_more_come():
    queue = filled(*(entry("a", connection="a") for _ in range(50)), entry("b", connection="b"))
    found = []
    for _ in range(20):
        found += taken(queue, 1)
        queue.add(entry("b", connection="b"))
    assert Counter(found) == {"a": 10, "b": 10}


def test_a_better_lane_goes_first_and_no_lane_waits_for_ever():
    queue = filled(*(entry(lane, lane) for lane in Lane for _ in range(100)))
    found = taken(queue, 2 * sum(WEIGHTS))
    assert found[0] is Lane.PROVEN
    for lane, weight in zip(Lane, WEIGHTS, strict=True):
        assert abs(found.count(lane) - 2 * weight) <= 1, lane


def test_a_lane_that_was_empty_has_saved_up_nothing():
    queue = filled(*(entry("flood") for _ in range(500)))
    taken(queue, 300)
    for _ in range(100):
        queue.add(entry("good", Lane.PROVEN))
    assert set(taken(queue, 18)) == {"good", "flood"}


def test_when_it_is_full_the_largest_source_of_the_worst_lane_gives_way():
    queue = filled(
        *(entry(f"good {n}", Lane.CLAIMS) for n in range(5)),
        *(entry(f"flood {n}", source="198.51.100.1") for n in range(4)),
        entry("alone", source="203.0.113.1"),
        max_entries=10,
    )
    assert [each.item for each in queue.add(entry("late", Lane.PROVEN))] == ["flood 3"]
    assert [each.item for each in queue.add(entry("more", source="198.51.100.1"))] == ["more"]
    assert [each.item for each in queue.add(entry("other", source="203.0.113.2"))] == ["flood 2"]
    assert len(queue) == 10


def test_bytes_are_bounded():
    queue = filled(entry("a", size=60), max_bytes=100)
    assert [each.item for each in queue.add(entry("b", size=60, connection="2"))] == ["b"]
    assert [each.item for each in queue.add(entry("c", Lane.PROVEN, size=60))] == ["a"]
    assert queue.bytes == 60


def test_one_that_gives_up_is_gone():
    one, other = entry("a"), entry("b")
    queue = filled(one, other)
    assert queue.remove(one)
    assert not queue.remove(one)
    assert taken(queue) == ["b"]
    assert not queue.remove(other)
    assert (len(queue), queue.bytes) == (0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("+-x"), st.sampled_from(Lane), st.sampled_from("abc"), st.sampled_from("12")))
)
def test_nothing_is_lost_and_nothing_comes_twice(steps):
    queue, waiting = ReviewQueue(8, 1000), set()
    for step, lane, source, connection in steps:
        if step == "+":
            new = entry(None, lane, source, connection)
            waiting.add(new)
            waiting -= set(queue.add(new))
        elif step == "-":
            found = queue.take()
            assert (found in waiting) if waiting else found is None
            waiting.discard(found)
        elif waiting:
            gone = waiting.pop()
            assert queue.remove(gone)
        assert len(queue) == queue.bytes == len(waiting) <= 8
    assert {queue.take() for _ in range(len(waiting))} == waiting


def fill_and_empty(count, spread):
    """Return the CPU seconds of a queue of `count` entries, each of another source or connection."""
    queue = ReviewQueue(count, 1_000_000)
    began = process_time()
    for number in range(3 * count):
        queue.add(entry(number, **{spread: str(number)}))
    taken(queue, count)
    return process_time() - began


def test_each_step_takes_the_same_time_whatever_waits():
    """With 10,000 sources, or 10,000 connections of one, twice as many steps take about twice as long."""
    for spread in ("source", "connection"):
        small, large = (min(fill_and_empty(count, spread) for _ in range(3)) for count in (2_500, 10_000))
        assert large < 12 * small, (spread, small, large)
