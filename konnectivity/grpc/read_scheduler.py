"""Schedule slow readers round-robin, one in each pass of the event loop.

The work that a read brings is the peer's choice; a crowd that sends what is expensive would make every pass as long as
all of that together. A connection that took long, or took a while in a pass that took long, waits at the end of the
queue until the others of its kind had their turn, and all quick connections are served in between. Knows nothing of
HTTP/2, sockets or what a turn does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

LONG_S = 0.003  # of one read of at most 256 KiB; bulk data takes a third of it
HEAVY_S = 0.001  # of one read, from which on it counts towards `MOST_HEAVY_S`
MOST_HEAVY_S = 0.006  # of all such reads in one pass of the event loop


class ReadScheduler:
    """The queue of one event loop."""

    def __init__(self) -> None:
        self.taken = 0  # number of turns that were waited for
        self._queue: deque[Callable[[], object]] = deque()
        self._heavy_s = 0.0  # that heavy reads took in this pass of the event loop

    def __len__(self) -> int:
        return len(self._queue)

    def crowded(self, seconds: float, loop: asyncio.AbstractEventLoop) -> bool:
        """Count a heavy read, and return whether those of this pass took more than `MOST_HEAVY_S` together."""
        if not self._heavy_s:
            loop.call_soon(self._begin_pass)
        self._heavy_s += seconds
        return self._heavy_s > MOST_HEAVY_S

    def wait(self, read_on: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        """Call `read_on` when it is its turn, at the earliest in the next pass of the event loop."""
        self.taken += 1
        self._queue.append(read_on)
        if len(self._queue) == 1:
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        read_on = self._queue.popleft()
        if self._queue:
            loop.call_soon(self._next, loop)
        read_on()

    def _begin_pass(self) -> None:
        self._heavy_s = 0.0
