"""Round trip of a tunnel, measured again while the tunnel is used."""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.grpc.message_stream import MessageStream
from konnectivity.metrics.histograms import Histogram

INTERVAL_S = 1.0  # between two measurements
ASSUMED_S = 0.001  # before the first measurement is complete


class RoundTripProbe:
    """Times at which the round trip of one stream was measured. The stream has the measured values.

    Args:
        stream: the stream.
        clock: returns seconds.
        observed: histogram of the measured round trips.

    """

    __slots__ = ("_clock", "_enabled", "_measured_at", "_observed", "_stream")

    def __init__(self, stream: MessageStream, clock: Callable[[], float], observed: Histogram) -> None:
        self._stream = stream
        self._clock = clock
        self._observed = observed
        self._measured_at = 0.0
        self._enabled = False

    def enable(self) -> None:
        """Measure now, and again while the tunnel is used: the peer negotiated the extension."""
        self._enabled = True
        self.measure()

    def measure(self) -> None:
        """Ping the peer."""
        self._measured_at = self._clock()
        self._stream.measure(self._observed.observe)

    def refresh(self) -> None:
        """Ping the peer if the last measurement is old."""
        if self._clock() - self._measured_at > INTERVAL_S and self._enabled:
            self.measure()

    def refreshed_s(self) -> float:
        """Return the round trip in seconds of the tunnel when nothing is queued on it; ping the peer if it is old."""
        self.refresh()
        return self._stream.least_round_trip_s or ASSUMED_S
