"""Schedule slow readers round-robin, one in each pass of the event loop.

The work that a read brings is the peer's choice; a crowd that sends what is expensive would make every pass as long as
all of that together. A connection that took long waits at the end of the queue until the others of its kind had their
turn, and all quick connections are served in between. Knows nothing of HTTP/2, sockets or what a turn does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

LONG_S = 0.01  # of one read of at most 256 KiB; bulk data takes a tenth of it


class Turns:
    """The queue of one event loop."""

    def __init__(self) -> None:
        self.taken = 0  # number of turns that were waited for
        self._queue: deque[Callable[[], object]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

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
