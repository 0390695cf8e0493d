"""Connections of agents that declined a dial lately, which are asked after the others. Pure; the clock is given.

An agent that is out of memory or descriptors says so, and the dial goes to another one. An agent that says so each time
would send each dial on a tour. Owns how long each connection is spared: longer each time, until it has not declined
for a while.
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
    """Until when each connection is spared.

    Args:
        clock: seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spared: BoundedMap[str, tuple[float, Backoff]] = BoundedMap(MAX_CONNECTIONS, MAX_BYTES)  # until

    def add(self, connection: str) -> None:
        """Spare a connection, of which an agent declined a dial."""
        now = self._clock()
        until, backoff = self._spared.get(connection) or (0.0, Backoff(FIRST_S, LONGEST_S))
        if now < until:
            return  # dials that were under way
        if now >= until + LONGEST_S:
            backoff.reset()
        self._spared[connection] = now + backoff.next(), backoff

    def holds(self, connection: str) -> bool:
        """Return whether a connection is spared now."""
        found = self._spared.get(connection)
        return found is not None and self._clock() < found[0]
