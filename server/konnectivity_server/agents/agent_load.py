"""Load of one agent, by which the server chooses among agents. Pure; the clock is given.

Owns the smoothed time of recent dials and the weight of recent errors. Does not know the agent.
"""

from __future__ import annotations

from collections.abc import Callable

LATENCY_WEIGHT = 0.2  # weight of the newest dial in the smoothed latency
LEAST_LATENCY_S = 0.0005  # an agent without a measured dial counts as this fast
DIAL_WEIGHT = 4  # number of connections that one pending dial counts as
ERROR_HALF_LIFE_S = 10.0  # a dial that failed counts like a connection at first, then half as much, ...


class AgentLoad:
    """Estimate of how busy and how slow an agent is.

    Args:
        clock: monotonic seconds.

    """

    __slots__ = ("_clock", "_error_at", "_errors", "dial_latency_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.dial_latency_s = 0.0  # smoothed latency of recent dials
        self._clock = clock
        self._errors = 0.0  # weight of failed dials at `_error_at`
        self._error_at = 0.0

    def answered(self, took_s: float, refused: bool) -> None:
        """Count a dial that was answered after `took_s` seconds.

        An error counts as load, and does not lower the latency: an agent that fails at once would look fast and idle,
        and attract all dials.
        """
        latency = self.dial_latency_s + LATENCY_WEIGHT * (took_s - self.dial_latency_s)
        if refused:
            latency = max(latency, self.dial_latency_s)
            self._errors, self._error_at = self._recent_errors() + 1, self._clock()
        self.dial_latency_s = latency

    def total(self, connections: int, dials: int) -> float:
        """Return the load of an agent with a number of connections and of pending dials."""
        busy = 1 + connections + DIAL_WEIGHT * dials + self._recent_errors()
        return busy * max(self.dial_latency_s, LEAST_LATENCY_S)

    def _recent_errors(self) -> float:
        if not self._errors:
            return 0.0
        return self._errors * float(0.5 ** ((self._clock() - self._error_at) / ERROR_HALF_LIFE_S))
