"""Token bucket: a burst, then a rate, on a clock that the test moves."""

from __future__ import annotations

import pytest

from konnectivity.net.token_bucket import TokenBucket


class HandClock:
    """Clock that the test moves, and that counts its calls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def taken(bucket: TokenBucket) -> int:
    """Take tokens until the bucket names a delay; return the number of tokens taken."""
    count = 0
    while bucket.delay() == 0:
        assert bucket.take()
        count += 1
    return count


def test_a_burst_is_followed_by_the_rate(clock: HandClock) -> None:
    bucket = TokenBucket(2, 3, clock)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    clock.now += 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now += 0.25
    assert not bucket.take()
    clock.now += 0.25
    assert bucket.take()


def test_no_more_than_a_burst_is_saved_up(clock: HandClock) -> None:
    bucket = TokenBucket(2, 3, clock)
    assert bucket.take(3)
    clock.now += 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_several_tokens_are_taken_together_or_not_at_all(clock: HandClock) -> None:
    bucket = TokenBucket(1, 5, clock)
    assert bucket.take(3)
    assert not bucket.take(3)
    assert bucket.take(2)


def test_the_clock_is_asked_only_when_there_are_too_few_tokens(clock: HandClock) -> None:
    bucket = TokenBucket(1, 100, clock)
    asked = clock.asked
    for _ in range(100):
        bucket.take()
    assert clock.asked == asked
    bucket.take()
    assert clock.asked == asked + 1


def test_overdrawn_tokens_are_named_and_earned_back(clock: HandClock) -> None:
    bucket = TokenBucket(10, 5, clock)
    assert bucket.overdraw(3) == 0.0
    assert bucket.overdue_s == 0.0
    assert bucket.overdraw(7) == 5.0
    assert bucket.overdue_s == pytest.approx(0.5)
    clock.now += 0.2
    assert bucket.overdue_s == pytest.approx(0.3)
    assert not bucket.take()
    clock.now += 0.4
    assert bucket.overdue_s == 0.0
    assert bucket.take()


def test_the_delay_lasts_until_a_token_is_there(clock: HandClock) -> None:
    bucket = TokenBucket(5, 10, clock)
    assert taken(bucket) == 10
    assert bucket.delay() == pytest.approx(0.2)
    clock.now += 1.0
    assert taken(bucket) == 5
    clock.now += 1000.0
    assert taken(bucket) == 10


def test_waiting_for_each_delay_keeps_the_rate(clock: HandClock) -> None:
    bucket = TokenBucket(7, 1, clock)
    began = clock.now
    for _ in range(50):
        clock.now += bucket.delay() + 1e-9
        assert bucket.take()
    assert clock.now - began == pytest.approx(7.0, abs=0.01)


def test_a_closed_bucket_names_at_least_the_time_until_it_opens(clock: HandClock) -> None:
    bucket = TokenBucket(5, 10, clock)
    bucket.close(3.0)
    bucket.close(2.0)
    clock.now += 1.0
    assert bucket.delay() == 2.0
    clock.now += 2.0
    assert taken(bucket) == 10
