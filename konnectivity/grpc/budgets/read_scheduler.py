"""Schedule slow readers round-robin, one in each pass of the event loop.

The peer chooses how much work a read causes, and many peers with expensive reads would make one pass as long as all
of them together. So a connection with a long read, or with a heavy read in a long pass, waits in a queue for its next
turn, and all quick connections are served in between. Knows nothing of HTTP/2, sockets or the work of a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

LONG_S = 0.003  # seconds for one read of at most 256 KiB; bulk data takes a third of it
HEAVY_S = 0.001  # seconds of one read above which it counts towards `MOST_HEAVY_S`
MOST_HEAVY_S = 0.006  # seconds for all such reads in one pass of the event loop


class ReadScheduler:
    """Queue of the slow readers of one event loop."""

    def __init__(self) -> None:
        self.taken = 0  # number of turns so far
        self._queue: deque[Callable[[], object]] = deque()
        self._heavy_s = 0.0  # seconds of heavy reads in this pass of the event loop

    def __len__(self) -> int:
        return len(self._queue)

    def crowded(self, seconds: float, loop: asyncio.AbstractEventLoop) -> bool:
        """Record a heavy read; return whether the heavy reads of this pass took more than `MOST_HEAVY_S` together."""
        if not self._heavy_s:
            loop.call_soon(self._begin_pass)
        self._heavy_s += seconds
        return self._heavy_s > MOST_HEAVY_S

    def wait(self, read_on: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        """Queue a reader, and call `read_on` at its turn, at the earliest in the next pass of the event loop."""
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
