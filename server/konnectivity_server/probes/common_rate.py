"""Common rate of the probes of several schedules in one process. Pure: the clock is given.

Owns the rate of the process, and the turns of the schedules that have more probes due than may start: probes of these
start at equal rates, so that a schedule of many paths takes no other one's share. Does not know paths.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from konnectivity.net.token_bucket import TokenBucket

BEAT_S = 0.5  # time for which a schedule that looks seldom may make up


class CommonRate:
    """Rate of all probes of a process.

    Args:
        rate: probes per second of all schedules together.
        clock: monotonic seconds.

    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._bucket = TokenBucket(rate, max(1.0, rate * BEAT_S), clock)
        self._turns: dict[Hashable, float] = {}  # of the schedules that wait: the time of the next probe of each

    def has_turn(self, schedule: Hashable) -> bool:
        """Return whether a probe of a schedule may start; if not, the schedule waits from now on."""
        if not self.delay(schedule):
            return True
        self._turns.setdefault(schedule, self._clock())
        return False

    def take(self, schedule: Hashable) -> None:
        """Count a probe of a schedule that has its turn."""
        self._bucket.take()
        at = self._turns.get(schedule)
        if at is not None:
            self._turns[schedule] = max(at, self._clock() - BEAT_S) + len(self._turns) / self._rate

    def delay(self, schedule: Hashable) -> float:
        """Return the seconds until the next probe of a schedule may start; 0.0: now."""
        return max(self._bucket.delay(), self._turns.get(schedule, 0.0) - self._clock(), 0.0)

    def leave(self, schedule: Hashable) -> None:
        """Let a schedule wait no more: no probe of it is due."""
        self._turns.pop(schedule, None)
