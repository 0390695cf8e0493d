"""Counters of the tunnels of one kind: plain fields that are never reset. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from konnectivity.metrics.histograms import Histogram

DIAL_BOUNDS = (1e-6, 1e-5, 1e-4, 0.005, 0.025, 0.1, 0.5, 2.5, 12.5)
DURATION_BOUNDS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 14400, 43200, 86400)
ROUND_TRIP_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
PACKET_TYPES = 128  # above the number of every packet type


def _per_type() -> list[int]:
    return [0] * PACKET_TYPES


@dataclass(slots=True)
class TunnelStats:
    """Counters of one kind of tunnel (towards agents, towards frontends, towards servers). Bytes are payload."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_data: int = 0  # DATA packets
    received_data: int = 0
    sent_control: list[int] = field(default_factory=_per_type)  # other packets, by the number of their type
    received_control: list[int] = field(default_factory=_per_type)
    stream_errors: dict[str, int] = field(default_factory=dict)  # streams that ended with an error, by status code
    streams: int = 0  # streams open now
    streams_seen: int = 0
    opened: int = 0
    closed: dict[tuple[str, str], int] = field(default_factory=dict)  # by cause and the side that caused it
    durations: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS))
    dial_seconds: Histogram = field(default_factory=lambda: Histogram(DIAL_BOUNDS))
    dial_failures: dict[str, int] = field(default_factory=dict)  # by reason
    stalled: int = 0  # connections whose local side accepts no data now
    stall_seconds: Histogram = field(
        default_factory=lambda: Histogram(DIAL_BOUNDS)
    )  # until the local side took everything
    starved: int = 0  # connections that have bytes to send and no credit now
    starved_seconds: float = 0.0
    held: int = 0  # times a shared stream was held for one connection
    holding: int = 0  # streams held now
    reset_over_budget: int = 0
    bad_packets: int = 0
    unknown_connections: int = 0
    round_trips: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_BOUNDS))

    def dial_failed(self, reason: str) -> None:
        """Count a failed dial."""
        self.dial_failures[reason] = self.dial_failures.get(reason, 0) + 1

    def stream_failed(self, code: str) -> None:
        """Count a stream that ended with an error."""
        self.stream_errors[code] = self.stream_errors.get(code, 0) + 1

    def connection_closed(self, cause: str, side: str, seconds: float) -> None:
        """Count a closed connection and how long it was open."""
        key = (cause, side)
        self.closed[key] = self.closed.get(key, 0) + 1
        self.durations.observe(seconds)
