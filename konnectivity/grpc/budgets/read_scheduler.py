"""Schedule slow readers round-robin, one in each pass of the event loop.

The peer chooses how much work a read causes, and many peers with expensive reads would make one pass as long as all
of them together. So a connection with a long read, or with a heavy read in a long pass, waits in a queue for its next
turn, and all quick connections are served in between. Peers that belong together, such as those of a tenant, are a
part: all their reads of a pass share one time, also the quick ones, and the parts take turns. Knows nothing of HTTP/2,
sockets or the work of a turn.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class ReadTimes:
    """Bounds of the reads of one pass of the event loop; times in seconds.

    Attributes:
        long_s: one read of at most 256 KiB; a longer one is interrupted.
        heavy_s: one read above which it is heavy.
        counted_s: one read above which it counts towards `most_s`.
        most_s: all counted reads together.
        messages: messages in one piece of DATA above which their delivery may take several turns.

    """

    long_s: float
    heavy_s: float
    counted_s: float
    most_s: float
    messages: int


# Bulk data takes a third of a long read.
ALL = ReadTimes(long_s=0.003, heavy_s=0.001, counted_s=0.001, most_s=0.006, messages=64)
PART = ReadTimes(long_s=0.001, heavy_s=0.0002, counted_s=0.0, most_s=0.001, messages=8)


class ReadScheduler:
    """Queue of the slow readers of one event loop, or of one part of its peers.

    Attributes:
        times: times of reads.
        full: whether the reads of a part used up the time of this pass: each further one waits for its turn.
        taken: number of reads so far that waited for a turn.

    Args:
        whole: queue of the event loop, if this is the queue of a part.
        clock: returns monotonic seconds.

    """

    __slots__ = ("_asked", "_clock", "_quick", "_slow", "_spent_s", "_whole", "full", "taken", "times")

    def __init__(self, whole: ReadScheduler | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.times = ALL if whole is None else PART
        self.full = False
        self.taken = 0
        self._whole = whole
        self._clock = clock
        self._asked = False
        self._slow: deque[Callable[[], object]] = deque()
        self._quick: deque[Callable[[], object]] = deque()  # readers that wait for no more than a pass with time left
        self._spent_s = 0.0  # seconds of counted reads in this pass of the event loop

    def part(self) -> ReadScheduler:
        """Return the queue of a part of the peers: however many readers it has, they take a turn as one reader does."""
        return ReadScheduler(self, self._clock)

    def __len__(self) -> int:
        return len(self._slow) + len(self._quick)

    def crowded(self, seconds: float, loop: asyncio.AbstractEventLoop) -> bool:
        """Record a counted read, and return whether those of this pass took more than their time together."""
        if not self._spent_s:
            loop.call_soon(self._begin_pass)
        self._spent_s += seconds
        crowded = self._spent_s > self.times.most_s
        self.full = crowded and self._whole is not None
        return crowded

    def wait(self, read_on: Callable[[], object], loop: asyncio.AbstractEventLoop, quick: bool = False) -> None:
        """Queue a reader, and call `read_on` at its turn, at the earliest in the next pass of the event loop.

        Args:
            read_on: reads on.
            loop: event loop of the reader.
            quick: whether the read is expected to be a quick one, of which a part has as many as fit in its turn.

        """
        self.taken += 1
        self._queue(self._quick if quick else self._slow, read_on, loop)

    def _queue(
        self, queue: deque[Callable[[], object]], turn: Callable[[], object], loop: asyncio.AbstractEventLoop
    ) -> None:
        queue.append(turn)
        self._ask(loop)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask for one turn, if none is asked for."""
        if self._asked:
            return
        self._asked = True
        if self._whole is None:
            loop.call_soon(self._take_turn, loop)
        else:
            self._whole._queue(self._whole._slow, functools.partial(self._take_turn, loop), loop)

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call the quick readers for whom there is time, and the slow one that has waited longest."""
        self._asked = False
        ends = self._clock() + self.times.most_s
        has_slow = bool(self._slow)  # before: a quick one that turns out slow has had its turn
        try:
            for _ in range(len(self._quick)):
                self._quick.popleft()()
                if self._clock() > ends:
                    break
            if has_slow:
                self._slow.popleft()()
        finally:
            if len(self):
                self._ask(loop)

    def _begin_pass(self) -> None:
        self._spent_s = 0.0
        self.full = False
