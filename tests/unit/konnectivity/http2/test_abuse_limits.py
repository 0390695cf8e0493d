"""The token bucket. What it is spent on is in test_inbound."""

from __future__ import annotations

from konnectivity.http2.abuse_limits import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


def test_a_burst_then_a_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 2, clock)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    clock.now += 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now += 0.25
    assert not bucket.take()
    clock.now += 0.25
    assert bucket.take()


def test_no_more_than_a_burst_is_saved_up() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 2, clock)
    bucket.take(3)
    clock.now += 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_several_at_once_or_none() -> None:
    bucket = TokenBucket(5, 1, Clock())
    assert bucket.take(3)
    assert not bucket.take(3)
    assert bucket.take(2)


def test_the_clock_is_asked_only_when_the_bucket_is_empty() -> None:
    clock = Clock()
    bucket = TokenBucket(100, 1, clock)
    asked = clock.asked
    for _ in range(100):
        bucket.take()
    assert clock.asked == asked
    bucket.take()
    assert clock.asked == asked + 1
