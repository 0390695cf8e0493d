"""Queues of dials, one for each server: a server that asks for thousands at once delays its own dials, no one else's.

Owns the dials that wait. Starts few at a time, so that what else the agent does has its turn between them. Does not
know how a dial is opened.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from konnectivity.errors import TOO_MANY_DIALS
from konnectivity.serving import DialIn, ServingTunnel

MAX_RUNNING = 512  # dials of one server that are being opened: each may hold a file descriptor
MAX_WAITING = 16_384  # dials of one server that wait for that; a server of ours has 10,000 pending at the most
STARTS_PER_PASS = 8  # dials that are started in one pass of the event loop
MAX_WAIT_S = 5.0  # a dial that waited for longer is refused: its client has given up, or will

Start = Callable[[DialIn], asyncio.Task[None] | None]


class _Waiting(NamedTuple):
    dial: DialIn
    since: float


class _Lane:
    """Dials of one server."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[_Waiting] = deque()


class DialQueue:
    """Starts dials in turn.

    Args:
        start: begins to open a dial and returns the task that does, or None if there is nothing left to do.
        reached: counts dials that were refused, as `dials_per_server`.
    """

    def __init__(self, start: Start, reached: Counter[str]) -> None:
        self._start = start
        self._reached = reached
        self._lanes: dict[ServingTunnel, _Lane] = {}
        self._loop = asyncio.get_running_loop()
        self._started = 0  # in this pass of the event loop
        self._scheduled = False

    def __len__(self) -> int:
        """Return the number of dials that wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def open(self, dial: DialIn) -> None:
        """Start a dial now if there is room, or in its turn; refuse it if too many wait."""
        lane = self._lanes.setdefault(dial.tunnel, _Lane())
        if not lane.waiting and self._has_room(lane):
            self._begin(dial, lane)
        elif len(lane.waiting) < MAX_WAITING:
            lane.waiting.append(_Waiting(dial, self._loop.time()))
        else:
            self._refuse(dial)
        self._schedule()

    def _has_room(self, lane: _Lane) -> bool:
        return lane.running < MAX_RUNNING and self._started < STARTS_PER_PASS

    def _begin(self, dial: DialIn, lane: _Lane) -> None:
        self._started += 1
        task = self._start(dial)
        if task is not None:
            lane.running += 1
            task.add_done_callback(lambda _: self._ended(lane))

    def _ended(self, lane: _Lane) -> None:
        lane.running -= 1
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pass)

    def _pass(self) -> None:
        """Start what there is room for, one dial of each server in turn."""
        self._scheduled = False
        self._started = 0
        lanes = [lane for lane in self._lanes.values() if lane.waiting]
        while lanes and self._started < STARTS_PER_PASS:
            for lane in lanes:
                self._next(lane)
            lanes = [lane for lane in lanes if lane.waiting and self._has_room(lane)]
        for tunnel, lane in list(self._lanes.items()):
            if not lane.running and not lane.waiting:
                del self._lanes[tunnel]
        if any(lane.waiting and lane.running < MAX_RUNNING for lane in self._lanes.values()):
            self._schedule()

    def _next(self, lane: _Lane) -> None:
        if lane.running >= MAX_RUNNING:
            return
        dial, since = lane.waiting.popleft()
        if dial.cancelled:
            return
        if self._loop.time() - since > MAX_WAIT_S:
            self._refuse(dial)
        else:
            self._begin(dial, lane)

    def _refuse(self, dial: DialIn) -> None:
        self._reached["dials_per_server"] += 1
        dial.failed(f"dial {dial.protocol} {dial.address}: {TOO_MANY_DIALS}")
