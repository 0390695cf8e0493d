"""Round-trip probe of a tunnel: the times at which the peer is pinged again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from konnectivity.grpc.round_trip_probe import ASSUMED_S, INTERVAL_S, RoundTripProbe
from konnectivity.metrics.histograms import Histogram


class PingedStream:
    """Stream whose pings are answered by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pings: list[Callable[[float], object]] = []
        self.least_round_trip_s: float | None = None

    def measure(self, done: Callable[[float], object]) -> None:
        self.pings.append(done)


def probe_of(stream: Any) -> tuple[RoundTripProbe, Histogram]:
    observed = Histogram((1.0,))
    return RoundTripProbe(stream, lambda: stream.now, observed), observed


def test_a_peer_is_pinged_again_only_while_the_tunnel_is_used_and_the_last_ping_is_old() -> None:
    stream = PingedStream()
    probe, _ = probe_of(stream)
    probe.enable()
    assert len(stream.pings) == 1
    probe.refresh()
    assert len(stream.pings) == 1
    stream.now += INTERVAL_S + 0.1
    probe.refresh()
    assert len(stream.pings) == 2


def test_a_peer_of_the_reference_protocol_is_not_pinged() -> None:
    stream = PingedStream()
    probe, _ = probe_of(stream)
    stream.now += 1000
    probe.refresh()
    assert stream.pings == []


def test_an_answered_ping_is_observed_and_the_least_round_trip_is_returned() -> None:
    stream = PingedStream()
    probe, observed = probe_of(stream)
    probe.enable()
    assert probe.refreshed_s() == ASSUMED_S
    stream.pings[0](0.02)
    stream.least_round_trip_s = 0.02
    assert probe.refreshed_s() == 0.02
    assert observed.count == 1
