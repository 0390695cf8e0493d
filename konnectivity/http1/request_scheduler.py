"""Turns of the requests at one listener: one at a time, and at most a share of the event loop's time.

Owns the queue. Whoever asks is queued with the others of its source, and the sources take turns: a source that asks
without end delays its own requests. Does not know what a turn is used for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

SHARE = 0.3  # of the event loop's time, at the most, over any time that is long
TIMER_S = 0.001  # the event loop rounds what is shorter to nothing, and would spin
BURST_S = 0.02  # of work that may be done ahead of the share


class RequestScheduler:
    """Queue of the requests at one listener, served by source in turn and within a share of the event loop's time.

    Args:
        share: part of the time that turns may take.
        burst_s: seconds of work that are done at once after a pause.
        clock: returns monotonic seconds.

    """

    def __init__(self, share: float = SHARE, burst_s: float = BURST_S, clock: Callable[[], float] = monotonic) -> None:
        self._loop = asyncio.get_running_loop()
        self._share = share
        self._burst_s = burst_s / share
        self._clock = clock
        self._waiting: dict[str, deque[Callable[[], None]]] = {}  # by source, in the order of their turns
        self._timer: asyncio.Handle | None = None
        self._paid_until = 0.0  # when the work that was done fits into the share

    def __len__(self) -> int:
        """Return the number of turns that are waited for."""
        return sum(map(len, self._waiting.values()))

    def ask(self, source: str, work: Callable[[], None]) -> None:
        """Call `work` in a later pass of the event loop."""
        self._waiting.setdefault(source, deque()).append(work)
        self._schedule()

    def spent(self, seconds: float) -> None:
        """Charge work that was done for the listener outside of a turn."""
        self._paid_until = max(self._paid_until, self._clock() - seconds) + seconds / self._share

    def close(self) -> None:
        """Forget all who wait."""
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
            self._waiting[source] = queue  # behind the other sources
        began = self._clock()
        try:
            work()
        finally:
            self.spent(self._clock() - began)
            self._schedule()
