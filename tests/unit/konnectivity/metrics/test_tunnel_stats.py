"""Counters of one kind of tunnel."""

from __future__ import annotations

from konnectivity.metrics.tunnel_stats import TunnelStats


def test_failures_and_closed_connections_are_counted_by_their_labels():
    stats = TunnelStats()
    for reason in ("timeout", "closed", "timeout"):
        stats.dial_failed(reason)
    stats.stream_failed("UNAVAILABLE")
    stats.connection_closed("reset", "target", 2.0)
    stats.connection_closed("reset", "target", 4.0)
    assert stats.dial_failures == {"timeout": 2, "closed": 1}
    assert stats.stream_errors == {"UNAVAILABLE": 1}
    assert (stats.closed, stats.durations.total) == ({("reset", "target"): 2}, 6.0)


def test_two_objects_share_no_counter():
    one, other = TunnelStats(), TunnelStats()
    one.sent_control[3] += 1
    one.dial_failed("timeout")
    one.round_trips.observe(1.0)
    assert (other.sent_control[3], other.dial_failures, other.round_trips.count) == (0, {}, 0)
