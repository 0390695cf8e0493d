"""Round trip of an idle path, estimated from pings on a busy one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konnectivity.grpc.round_trip import KEPT, QUIET_BYTES, RoundTrip


def test_nothing_is_known_before_the_first_answer():
    assert RoundTrip().last is RoundTrip().least is None


def test_a_queue_is_no_distance():
    line = RoundTrip()
    line.sample(0.001, 0)
    line.sample(0.080, 10 * QUIET_BYTES)
    assert (line.last, line.least) == (0.080, 0.001)


def test_the_first_answer_counts_whatever_was_on_the_line_until_there_is_a_better_one():
    line = RoundTrip()
    line.sample(0.080, 10 * QUIET_BYTES)
    assert line.least == 0.080
    line.sample(0.020, 10 * QUIET_BYTES)
    assert line.least == 0.020


def test_a_line_that_has_become_longer_is_found_out_when_it_is_quiet():
    line = RoundTrip()
    line.sample(0.001, 0)
    for _ in range(KEPT):
        line.sample(0.050, 0)
    assert line.least == 0.050


def test_one_late_answer_means_nothing():
    line = RoundTrip()
    line.sample(0.001, 0)
    line.sample(0.030, 0)
    assert line.least == 0.001


def test_one_ping_at_a_time_and_what_went_by_meanwhile():
    line = RoundTrip()
    assert line.answer(1.0, 0) is None, "nobody asked"
    assert line.ask(1.0, 500)
    assert not line.ask(1.5, 700), "one is out"
    assert line.answer(3.0, 900) == 2.0
    assert (line.last, line.least) == (2.0, 2.0)
    assert line.ask(4.0, 1000)
    assert line.answer(9.0, 1000 + 10 * QUIET_BYTES) == 5.0
    assert (line.last, line.least) == (5.0, 2.0)


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.integers(0, 1 << 20)), min_size=1))
def test_it_is_always_one_of_the_samples_and_never_above_the_last_quiet_one(samples):
    line = RoundTrip()
    for seconds, moved in samples:
        line.sample(seconds, moved)
    assert line.least in [seconds for seconds, _ in samples]
    quiet = [seconds for seconds, moved in samples if moved <= QUIET_BYTES]
    assert not quiet or line.least <= quiet[-1]
