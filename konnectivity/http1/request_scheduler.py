"""Scheduler of the requests at one listener: one at a time, and within a share of the event loop's time.

Owns one queue per source and serves the sources round-robin, so that a source with many requests delays only its own.
Does not know requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

SHARE = 0.3  # largest long-term share of the event loop's time
TIMER_S = 0.001  # shortest timer; the event loop rounds shorter ones to zero, and would spin
BURST_S = 0.02  # seconds of work that may be done ahead of the share


class RequestScheduler:
    """Queues of work, served by source in turn and within a share of the event loop's time.

    Args:
        share: share of the time that work may take.
        burst_s: seconds of work that may be done at once after a pause.
        clock: returns monotonic seconds.

    """

    def __init__(self, share: float = SHARE, burst_s: float = BURST_S, clock: Callable[[], float] = monotonic) -> None:
        self._loop = asyncio.get_running_loop()
        self._share = share
        self._burst_s = burst_s / share
        self._clock = clock
        self._waiting: dict[str, deque[Callable[[], None]]] = {}  # by source, the next one first
        self._timer: asyncio.Handle | None = None
        self._paid_until = 0.0  # time from which the work done so far is within the share

    def __len__(self) -> int:
        """Return the number of queued pieces of work."""
        return sum(map(len, self._waiting.values()))

    def ask(self, source: str, work: Callable[[], None]) -> None:
        """Call `work` in a later pass of the event loop."""
        self._waiting.setdefault(source, deque()).append(work)
        self._schedule()

    def spent(self, seconds: float) -> None:
        """Charge seconds of work that was done for the listener outside of the queue."""
        self._paid_until = max(self._paid_until, self._clock() - seconds) + seconds / self._share

    def close(self) -> None:
        """Drop all queued work."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is not None or not self._waiting:
            return
        wait_s = self._wait_s()
        if wait_s > 0:
            self._timer = self._loop.call_later(max(wait_s, TIMER_S), self._next)
        else:
            self._timer = self._loop.call_soon(self._next)

    def _wait_s(self) -> float:
        return self._paid_until - self._burst_s - self._clock()

    def _next(self) -> None:
        self._timer = None
        if self._wait_s() > 0:
            self._schedule()
            return
        source, queue = next(iter(self._waiting.items()))
        work = queue.popleft()
        del self._waiting[source]
        if queue:
            self._waiting[source] = queue  # the source moves behind the other sources
        began = self._clock()
        try:
            work()
        finally:
            self.spent(self._clock() - began)
            self._schedule()
