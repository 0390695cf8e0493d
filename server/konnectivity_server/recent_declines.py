"""Connections of agents that declined a dial recently, which are asked after the others. Pure; the clock is given.

An agent without memory or descriptors declines, and the dial is retried on another agent. An agent that declines every
dial would cost every dial a retry. Owns the time for which each connection is spared: longer with each decline, until
the agent has not declined for a while.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.net.backoff import Backoff
from konnectivity.untrusted.bounded_map import BoundedMap

FIRST_S = 5.0
LONGEST_S = 60.0
MAX_CONNECTIONS = 10_000
MAX_BYTES = 4 * 1024 * 1024


class RecentDeclines:
    """Connections that are spared, each until a time.

    Args:
        clock: seconds, monotonic.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spared: BoundedMap[str, tuple[float, Backoff]] = BoundedMap(MAX_CONNECTIONS, MAX_BYTES)  # until

    def add(self, connection: str) -> None:
        """Spare a connection, because an agent behind it declined a dial."""
        now = self._clock()
        until, backoff = self._spared.get(connection) or (0.0, Backoff(FIRST_S, LONGEST_S))
        if now < until:
            return  # a dial that was pending already when the connection was first spared
        if now >= until + LONGEST_S:
            backoff.reset()
        self._spared[connection] = now + backoff.next(), backoff

    def holds(self, connection: str) -> bool:
        """Return whether a connection is spared now."""
        if not self._spared:
            return False
        found = self._spared.get(connection)
        return found is not None and self._clock() < found[0]
