"""Round trip of a connection, told apart from the time that bytes wait in queues. Pure.

A ping that is sent behind data measures the queue, too. So a sample from a connection that was quiet meanwhile counts
(the least of the last few: programs are late now and then), and any other sample only if it is smaller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

QUIET_BYTES = 16 * 1024  # bytes in both directions while the ping was under way
KEPT = 4  # quiet samples

Listener = Callable[[float], object]


class RoundTrip:
    """Measurement of one connection's round trip, by pings that the owner sends; `moved` counts its bytes so far.

    Attributes:
        last: the last sample, in seconds; None before the first.
        least: the round trip of the connection when nothing is queued on it, in seconds; None before the first sample.

    """

    __slots__ = ("_asked_at", "_listeners", "_moved_before", "_quiet", "last", "least")

    def __init__(self) -> None:
        self.last: float | None = None
        self.least: float | None = None
        self._quiet: deque[float] = deque(maxlen=KEPT)
        self._asked_at: float | None = None
        self._moved_before = 0
        self._listeners: list[Listener] = []

    def ask(self, now: float, moved: int, listener: Listener | None = None) -> bool:
        """Begin a measurement, and return whether a ping must be sent: no second one while one is under way.

        Args:
            now: time in seconds.
            moved: bytes sent and received on the connection so far.
            listener: called with the next sample, in seconds.

        """
        if listener is not None:
            self._listeners.append(listener)
        if self._asked_at is not None:
            return False
        self._asked_at, self._moved_before = now, moved
        return True

    def answer(self, now: float, moved: int) -> float | None:
        """End the measurement, and return its seconds; None if none was under way."""
        if self._asked_at is None:
            return None
        seconds, self._asked_at = now - self._asked_at, None
        self.sample(seconds, moved - self._moved_before)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(seconds)
        return seconds

    def sample(self, seconds: float, moved: int) -> None:
        """Record a sample during which `moved` bytes were sent and received on the connection."""
        self.last = seconds
        if moved <= QUIET_BYTES:
            self._quiet.append(seconds)
            self.least = min(self._quiet)
        elif self.least is None or seconds < self.least:
            self.least = seconds
