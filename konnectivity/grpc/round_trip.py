"""The round trip of a line, told apart from the queue on it. Pure.

A ping that goes out behind data measures the queue, too. So a sample on a line that was quiet meanwhile counts as it is
(the least of the last few: programs are late now and then), and any other one only if it is smaller.
"""

from __future__ import annotations

from collections import deque

QUIET_BYTES = 16 * 1024  # both ways, while the ping was under way
KEPT = 4  # quiet samples


class RoundTrip:
    """Pings in, the round trip of the empty line out, in seconds. `moved` are the bytes that went by so far."""

    __slots__ = ("_asked_at", "_moved_before", "_quiet", "last", "least")

    def __init__(self) -> None:
        self.last: float | None = None
        self.least: float | None = None
        self._quiet: deque[float] = deque(maxlen=KEPT)
        self._asked_at: float | None = None
        self._moved_before = 0

    def ask(self, now: float, moved: int) -> bool:
        """Whether a ping is to go out: one at a time."""
        if self._asked_at is not None:
            return False
        self._asked_at, self._moved_before = now, moved
        return True

    def answer(self, now: float, moved: int) -> float | None:
        """The ping came back: how long it took. None: nobody asked."""
        if self._asked_at is None:
            return None
        seconds, self._asked_at = now - self._asked_at, None
        self.sample(seconds, moved - self._moved_before)
        return seconds

    def sample(self, seconds: float, moved: int) -> None:
        """A ping was answered; `moved` bytes went by on the line meanwhile."""
        self.last = seconds
        if moved <= QUIET_BYTES:
            self._quiet.append(seconds)
            self.least = min(self._quiet)
        elif self.least is None or seconds < self.least:
            self.least = seconds
