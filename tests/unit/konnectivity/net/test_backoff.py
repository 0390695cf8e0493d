"""Exponential back-off."""

from __future__ import annotations

from random import Random

from konnectivity.net.backoff import Backoff


def test_pauses_grow_by_the_factor_up_to_the_cap() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_reset_begins_with_the_first_pause() -> None:
    backoff = Backoff(0.5, 60.0, factor=1.5)
    assert [backoff.next(), backoff.next()] == [0.5, 0.75]
    backoff.reset()
    assert backoff.next() == 0.5


def test_a_lower_cap_holds_for_one_pause_and_the_next_one_grows_from_it() -> None:
    backoff = Backoff(8.0, 60.0)
    assert [backoff.next(2.0), backoff.next(), backoff.next(3.0), backoff.next()] == [2.0, 4.0, 3.0, 6.0]


def test_a_random_number_within_the_spread_multiplies_each_pause_and_does_not_add_up() -> None:
    backoff = Backoff(1.0, 4.0, spread=(0.5, 1.5), random=Random(7))
    pauses = [backoff.next() for _ in range(50)]
    assert all(2.0 <= pause <= 6.0 for pause in pauses[2:])
    assert len(set(pauses)) == len(pauses)
    assert max(pauses) > 5.0
    assert min(pauses[2:]) < 3.0


def test_a_first_pause_over_the_cap_is_capped() -> None:
    assert Backoff(10.0, 5.0).next() == 5.0
