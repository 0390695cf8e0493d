"""How large windows should be: a few lines as they are."""

from __future__ import annotations

import pytest

from konnectivity import window

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("rate", "round_trip_s", "alone", "wanted"),
    [
        (400 * MIB, 0.0002, False, 0.28 * MIB),  # loopback: the others wait well below a millisecond
        (400 * MIB, 0.0002, True, 1.5 * MIB),
        (100 * MIB, 0.05, False, 10 * MIB),  # a long line must be full all the same
        (100 * MIB, 0.05, True, 20 * MIB),
        (MIB, 0.05, False, 0.1 * MIB),  # a slow client far away
    ],
)
def test_a_window_follows_rate_and_round_trip(rate, round_trip_s, alone, wanted):
    assert window.wanted(rate // 100, 0.01, round_trip_s, alone) == pytest.approx(wanted, rel=0.05)
