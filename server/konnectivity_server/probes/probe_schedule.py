"""Schedule of probes: when each path is due, and how many probes may run. Pure; clock and random numbers are given.

Owns the due times and the budget: probes at one time and probes per second. Paths that the budget delays keep their
order. Probes begin in beats, a few times a second: code and tables that many probes share are then in the caches of
the processor. Does not know what a path is.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from konnectivity.net.token_bucket import TokenBucket
from konnectivity_server.probes.common_rate import CommonRate

MOST_AT_ONCE = 256  # probes under way
RATE = 100  # probes per second; more paths than that are probed less often
SPREAD = 0.9  # the shortest gap between two probes of a path, as a share of the longest
CONFIRM_S = 0.5  # from a first failure to the probe that confirms it
MAX_BACKOFF = 4  # longest gap of a failing path, in gaps
STEP_S = 0.001  # shortest wait for the rate: a shorter one may be less than the clock shows
BEAT_S = 0.5  # longest time between two beats
FEW_S = 1.0  # first probes of new paths are spread over at least this time

K = TypeVar("K", bound=Hashable)


class ProbeSchedule(Generic[K]):
    """Due times of paths.

    Args:
        gap_s: longest time from one probe of a passing path to the next.
        clock: monotonic seconds.
        random: returns a number from 0 up to, not including, 1.
        most_at_once: probes under way at one time.
        rate: probes per second.
        common: rate of all schedules of the process; None: there is no other one.

    """

    def __init__(
        self,
        gap_s: float,
        clock: Callable[[], float],
        random: Callable[[], float],
        most_at_once: int = MOST_AT_ONCE,
        rate: float = RATE,
        common: CommonRate | None = None,
    ) -> None:
        self.running: set[K] = set()
        self._gap_s = gap_s
        self._clock = clock
        self._random = random
        self._most = most_at_once
        self._rate = rate
        self._beat_s = min(BEAT_S, gap_s * (1 - SPREAD) / 2)
        self._phase = random() * self._beat_s  # not that of other servers
        self._bucket = TokenBucket(rate, max(1.0, rate * self._beat_s), clock)
        self._common = common
        self._heap: list[tuple[float, int, K]] = []
        self._turn_of: dict[K, int] = {}  # number of the valid entry of each path in the heap; 0: none
        self._turns = 0

    def __len__(self) -> int:
        """Return the number of paths."""
        return len(self._turn_of)

    def __contains__(self, path: object) -> bool:
        return path in self._turn_of

    def add(self, path: K) -> None:
        """Schedule the first probe of a new path, soon and at a random time."""
        self._turn_of[path] = 0
        longest_s = min(self._gap_s, max(min(FEW_S, self._gap_s / 10), len(self._turn_of) / self._rate))
        self._put(path, self._clock() + self._random() * longest_s)

    def remove(self, path: K) -> None:
        """Forget a path; a probe of it that is under way must still be ended with `done`."""
        self._turn_of.pop(path, None)
        if len(self._heap) > 2 * len(self._turn_of) + 16:  # entries of forgotten paths
            self._heap = [each for each in self._heap if self._turn_of.get(each[2]) == each[1]]
            heapq.heapify(self._heap)

    def due(self) -> Iterator[K]:
        """Yield the paths whose probes start now; each counts as under way until `done`."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now and len(self.running) < self._most:
            _, turn, path = self._heap[0]
            if self._turn_of.get(path) != turn:
                heapq.heappop(self._heap)
                continue
            if self._common is not None and not self._common.has_turn(self):
                return
            if not self._bucket.take():
                return
            if self._common is not None:
                self._common.take(self)
            heapq.heappop(self._heap)
            self._turn_of[path] = 0
            self.running.add(path)
            yield path

    def done(self, path: K, failures: int) -> None:
        """End a probe and schedule the next one of its path, which failed that many times in a row."""
        self.running.discard(path)
        if path not in self._turn_of:
            return
        if failures == 1:
            self._put(path, self._clock() + min(CONFIRM_S, self._gap_s / 10))
            return
        gap_s = self._gap_s * (min(2 ** (failures - 2), MAX_BACKOFF) if failures else 1)
        least_s = gap_s * SPREAD + self._beat_s
        self._put(path, self._beat_before(self._clock() + least_s + (gap_s - least_s) * self._random()))

    def later(self, path: K) -> None:
        """Put a probe off that could not start, for a tenth of the gap."""
        self.running.discard(path)
        if path in self._turn_of:
            self._put(path, self._clock() + self._gap_s / 10)

    def hurry(self, path: K) -> None:
        """Make a path due now, unless a probe of it is under way."""
        if path in self._turn_of and path not in self.running:
            self._put(path, self._clock())

    def rest(self) -> None:
        """Leave the common rate to other schedules: no probe is due, or none starts any more."""
        if self._common is not None:
            self._common.leave(self)

    def wait_s(self) -> float | None:
        """Return the seconds until a probe may start; None if nothing can start before a probe ends."""
        while self._heap and self._turn_of.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        wait_s = self._heap[0][0] - self._clock() if self._heap else None
        if wait_s is None or wait_s > 0:
            self.rest()
        if wait_s is None or len(self.running) >= self._most:
            return None
        if wait_s > 0:
            return wait_s
        delay_s = max(self._bucket.delay(), 0.0 if self._common is None else self._common.delay(self))
        if not delay_s:
            return 0.0
        now = self._clock()
        to_beat_s = self._beat_before(now + self._beat_s) - now
        return max(to_beat_s if to_beat_s > STEP_S else self._beat_s, delay_s)

    def _beat_before(self, at: float) -> float:
        """Return the time of the last beat that is not later than a time."""
        return math.floor((at - self._phase) / self._beat_s) * self._beat_s + self._phase

    def _put(self, path: K, at: float) -> None:
        self._turns += 1
        self._turn_of[path] = self._turns
        heapq.heappush(self._heap, (at, self._turns, path))
