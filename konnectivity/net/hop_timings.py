"""Stopwatch for the hops of one connection. Knows hops by their names only."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

CONNECT = "connect"  # connection to the proxy server's socket, including the lookup of its name
TLS = "tls"  # TLS handshake with the proxy server
DIAL = "dial"  # server, agent, target: until the server says that the connection is open
TARGET_TLS = "target_tls"  # TLS handshake with the target, through the tunnel
FIRST_BYTE = "first_byte"  # time from the request, or the end of the dial, to the first byte of the target
TRANSFER = "transfer"  # the rest of the response


class HopTimings:
    """Seconds of each hop, in the order in which they ended."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._last = clock()

    def done(self, hop: str) -> None:
        """End a hop; the next one begins now."""
        now = self._clock()
        self.seconds[hop] = self.seconds.get(hop, 0.0) + now - self._last
        self._last = now

    @property
    def total(self) -> float:
        """Seconds of all hops."""
        return sum(self.seconds.values())

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds of each hop, and of all hops as `total`, which is the last item."""
        return {hop: round(seconds * 1000, 2) for hop, seconds in (*self.seconds.items(), ("total", self.total))}

    def __str__(self) -> str:
        return ", ".join(f"{hop.replace('_', ' ')} {ms:g} ms" for hop, ms in self.milliseconds().items())
