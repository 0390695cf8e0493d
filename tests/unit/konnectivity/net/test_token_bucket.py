"""So many requests a second, and a burst of them at once."""

from __future__ import annotations

from konnectivity.net.token_bucket import TokenBucket


def taken(bucket, now):
    count = 0
    while bucket.delay(now) == 0:
        bucket.take(now)
        count += 1
    return count


def test_a_burst_then_the_rate():
    bucket = TokenBucket(rate=5, size=10)
    assert taken(bucket, 100.0) == 10
    assert abs(bucket.delay(100.0) - 0.2) < 1e-6
    assert taken(bucket, 101.0) == 5
    assert taken(bucket, 1000.0) == 10  # it holds no more


def test_the_wait_it_names_is_enough():
    bucket, now = TokenBucket(rate=7, size=1), 0.0
    for _ in range(50):
        now += bucket.delay(now)
        assert bucket.delay(now) < 1e-9
        bucket.take(now)
    assert abs(now - 7.0) < 0.01


def test_closed_for_a_while():
    bucket = TokenBucket(rate=5, size=10)
    bucket.close(3.0)
    bucket.close(2.0)  # asks for less: no change
    assert bucket.delay(1.0) == 2.0
    assert taken(bucket, 3.0) == 10
