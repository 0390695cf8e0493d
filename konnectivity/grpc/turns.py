"""Who reads next, of the connections whose reading takes long: one in each pass of the event loop.

The work that a read brings is the peer's choice; a crowd that sends what is expensive would make every pass as long as
all of that together. So a connection that took long stands at the end of the queue until the others of its kind had
theirs, and all that are quick are served in between. Alone, a connection waits for nobody. Knows nothing of HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections import deque

LONG_S = 0.01  # of one read of at most 256 KiB; bulk data takes a tenth of it


class Turns:
    """The queue of one event loop."""

    def __init__(self) -> None:
        self.taken = 0  # how often somebody had to wait
        self._queue: deque[asyncio.Transport] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def wait(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """This one has just taken long: it reads on when it is its turn."""
        if transport.is_closing() or not transport.is_reading():
            return
        self.taken += 1
        transport.pause_reading()
        self._queue.append(transport)
        if len(self._queue) == 1:
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        transport = self._queue.popleft()
        if self._queue:
            loop.call_soon(self._next, loop)
        if not transport.is_closing():
            transport.resume_reading()
