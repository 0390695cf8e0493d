"""Number of proxy servers that an agent looks for, from two sources: leases, and what connected servers announce.

Owns both figures and the time of the last change. Pure: its caller reads the clock and keeps the timer. Does not know
which servers are connected.
"""

from __future__ import annotations

import math

from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT

CHANGE_INTERVAL_S = 1.0  # between two changes of the announced count


class ServerCount:
    """Number of servers, as far as known.

    Args:
        source: `max` for the larger of leases and announcements; any other value for leases where they are counted.

    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._leases: int | None = None
        self._announced = 1
        self._next = 1  # the latest announcement, which may not be taken over yet
        self._changed_at = -math.inf

    @property
    def value(self) -> int:
        """Number of servers to look for, 1 or more."""
        announced = max(min(self._announced, MAX_SERVER_COUNT), 1)
        if self._leases is None:
            return announced
        return max(self._leases, announced if self._source == "max" else 1, 1)

    def leases_counted(self, count: int) -> None:
        """Take the number of valid leases; from now on leases are a source."""
        self._leases = count

    def greeted(self, count: int) -> None:
        """Take the count of a server's greeting at once; 0 or less counts as 1 server."""
        self._announced = self._next = min(count, MAX_SERVER_COUNT) if count > 0 else 1

    def announced(self, count: int, now: float) -> float | None:
        """Note the count that a connected server announces.

        Returns:
            Seconds after which to call `take`; None if the announcement changes nothing.

        """
        if count > 0:
            self._next = min(count, MAX_SERVER_COUNT)
        if self._next == self._announced:
            return None
        return max(0.0, self._changed_at + CHANGE_INTERVAL_S - now)

    def take(self, now: float) -> int | None:
        """Take over the latest announcement and return it; None if the announced count did not change."""
        self._changed_at = now
        if self._next == self._announced:
            return None
        self._announced = self._next
        return self._announced
