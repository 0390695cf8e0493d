"""Rate limit of log lines that peers can cause, the count of omitted lines, and the memory of counting."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from konnectivity.runtime import logs
from konnectivity.runtime.logs.line_rate import MAX_KEY_LENGTH, LineRate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_peer_gets_its_lines_and_no_more(clock: Clock) -> None:
    rate = LineRate(clock, per_peer=3)
    assert [rate.take("Refused", "a") for _ in range(5)] == [(0, 0)] * 3 + [None] * 2
    assert rate.left_out == 2


def test_the_next_line_counts_what_was_left_out_and_the_one_behind_it_does_not(clock: Clock) -> None:
    rate = LineRate(clock, interval_s=10, per_peer=1)
    for _ in range(8):
        rate.take("Refused", "a")
    clock.now += 10
    assert rate.take("Refused", "a") == (7, 0)
    clock.now += 10
    assert rate.take("Refused", "a") == (0, 0)


def test_peers_and_messages_have_rates_of_their_own(clock: Clock) -> None:
    rate = LineRate(clock, per_peer=1)
    assert rate.take("Refused", "a") == rate.take("Refused", "b") == rate.take("Bad packet", "a") == (0, 0)
    assert rate.take("Refused", "a") is None


def test_a_crowd_of_peers_shares_the_rate_of_the_message(clock: Clock) -> None:
    rate = LineRate(clock, per_message=50)
    let_through = sum(rate.take("Refused", f"peer {number}") is not None for number in range(1_000))
    assert let_through == 50
    assert rate.take("Bad packet", "peer 1") == (0, 0)
    clock.now += 10
    assert rate.take("Refused", "peer 999") == (1, 0)


def test_the_count_of_a_forgotten_peer_is_told_with_another(clock: Clock) -> None:
    rate = LineRate(clock, interval_s=10, per_peer=1, max_keys=2)
    for peer in ("a", "a", "a", "b", "c"):
        rate.take("Refused", peer)
    assert len(rate) == 2
    clock.now += 10
    assert rate.take("Refused", "d") == (0, 0)
    rate = LineRate(clock, interval_s=10, per_peer=1, max_keys=1)
    for peer in ("a", "a", "a"):
        rate.take("Refused", peer)
    assert rate.take("Refused", "b") == (0, 2)


def test_memory_is_bounded_in_keys_and_in_bytes(clock: Clock) -> None:
    rate = LineRate(clock, max_keys=500)
    tracemalloc.start()
    for number in range(5_000):
        rate.take("Refused", f"{number} " + "x" * 100_000)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rate) == 500
    assert used < 500 * (MAX_KEY_LENGTH + 1_000)


def test_the_log_writes_the_lines_that_are_let_through_with_the_place_of_the_caller(
    clock: Clock, written: io.StringIO
) -> None:
    peer_log = logs.get_peer_log("test", LineRate(clock, per_peer=2))
    for number in range(5):
        peer_log.warning("10.0.0.7", "Agent refused", number=number)
    clock.now += 10
    peer_log.info("10.0.0.7", "Agent refused", number=5)
    peer_log.error("10.0.0.8", "Agent refused", number=6)
    lines = written.getvalue().splitlines()
    assert [line[0] for line in lines] == ["W", "W", "I", "E"]
    assert all("test_line_rate.py:" in line for line in lines)
    assert "left_out" not in lines[1] + lines[3]
    assert lines[2].endswith("number=5 left_out=3")


def test_all_logs_of_the_process_share_one_count(written: io.StringIO) -> None:
    before = logs.left_out()
    for _ in range(12):
        logs.get_peer_log("one").info("10.0.0.9", "Agent refused for this test")
        logs.get_peer_log("other").info("10.0.0.9", "Agent refused for this test")
    assert logs.left_out() - before == 14
    assert written.getvalue().count("Agent refused for this test") == 10
