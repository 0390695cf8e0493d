"""Map of entries that peers choose, bounded in entries and in bytes."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from konnectivity.untrusted.bounded_map import ENTRY_BYTES, BoundedMap, size_of


def listed(bounded):
    return [key for key, _ in bounded.newest()]


def test_the_entry_written_longest_ago_goes_first():
    bounded = BoundedMap(3, 10_000)
    for key in ("a", "b", "c", "a", "d"):
        bounded[key] = key.upper()
    assert listed(bounded) == ["d", "a", "c"]
    assert (bounded.get("b"), bounded.get("a"), "b" in bounded, "a" in bounded) == (None, "A", False, True)


def test_bytes_are_bounded_too_and_one_entry_that_is_too_large_pushes_nobody_out():
    one = size_of("0000", "x" * 1000) + ENTRY_BYTES
    bounded = BoundedMap(1000, 5 * one)
    for number in range(100):
        bounded[f"{number:04}"] = "x" * 1000
    assert len(bounded) == 5
    bounded["large"] = "x" * 6 * one
    assert "large" not in bounded
    assert len(bounded) == 5
    bounded["0099"] = "x" * 6 * one  # the old value is not true any more
    assert "0099" not in bounded


def test_no_room_at_all():
    bounded = BoundedMap(0, 10_000)
    bounded["a"] = "b"
    assert len(bounded) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.text(max_size=300), st.booleans())))
def test_the_count_of_bytes_is_right(steps):
    bounded = BoundedMap(5, 2000)
    for key, value, forget in steps:
        bounded[key] = value
        if forget:
            assert bounded.pop(key) in (value, None)
            assert bounded.pop(key) is None
        assert len(bounded) <= 5
        assert bounded.bytes == sum(size_of(key, value) + ENTRY_BYTES for key, value in bounded.newest()) <= 2000


def test_sizes_are_those_of_memory():
    """Counted bytes are at least half of the held bytes and at most twice, whatever a peer writes."""
    for text in ("a" * 250, "\U0001f600" * 250, "ä" * 250, "ab"):
        tracemalloc.start()
        bounded = BoundedMap(100_000, 4 << 20)
        for number in range(3000):
            bounded[f"{text}{number}"] = (f"{number}{text}", float(number))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 0.5 * held < bounded.bytes < 2.5 * held, text[:2]
