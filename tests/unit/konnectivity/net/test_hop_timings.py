"""Stopwatch of hops."""

from __future__ import annotations

from konnectivity.net.hop_timings import HopTimings


def test_each_hop_begins_where_the_last_one_ended():
    times = iter([10.0, 10.5, 11.0, 13.0])
    hops = HopTimings(lambda: next(times))
    for hop in ("connect", "dial", "first_byte"):
        hops.done(hop)
    assert hops.seconds == {"connect": 0.5, "dial": 0.5, "first_byte": 2.0}
    assert hops.milliseconds() == {"connect": 500.0, "dial": 500.0, "first_byte": 2000.0, "total": 3000.0}
    assert str(hops) == "connect 500 ms, dial 500 ms, first byte 2000 ms, total 3000 ms"
