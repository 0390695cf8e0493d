"""Flow-control windows of a tunnel's connections: sized by rate, round trip and light traffic beside them. Pure.

Bytes in flight on a tunnel delay all its connections: bytes beyond rate x round trip stand in a queue, in the kernel of
whichever program is busy. So beside connections that receive at a low rate (a terminal, a log) a window is what makes a
loaded round trip about twice an empty one; where all connections are bulk it may be more, which is faster.

Credit is a promise to keep bytes. All promises of a tunnel together stay within its budget, so that a tunnel whose
connections all stall at once holds no more than that. A connection that stalled with a large window gives the growth
back when others want it, and gets no credit for these bytes when they leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from konnectivity.tunnel.memory_budget import MemoryBudget

SHARED = (2, 0.0003)  # round trips, and seconds, of a connection's rate: beside connections that receive at a low rate
ALONE = (4, 0.003)  # the same values without such connections
SHARED_S = 2.0  # after light traffic was seen: longer than between two keystrokes
LOOK_INTERVAL_S = 0.1  # between two looks for light traffic
LOOK_EACH_S = 0.0001  # seconds added to the interval per connection: a look visits all
LIGHT = 1024 * 1024  # bytes per second: a lower rate is light traffic
RATE_S = 0.005  # a rate is taken over at least this time and a round trip: bytes arrive in bursts
GROWTH = 4  # largest factor of one step of a window
SHRINK = 0.75  # a window shrinks if it should be smaller than this part of its size
MAX_STEP = 512 * 1024  # largest step of credit: a sender far away should not wait for half a window
REST_S = 10.0  # between two returns of credit, after which a window is larger than necessary
SPARED = 104  # connections whose first windows a tunnel keeps room for; more may be open, and few stall together


def wanted(passed: int, elapsed_s: float, round_trip_s: float, alone: bool) -> int:
    """Return the window, in bytes, of a connection that passed on `passed` bytes in `elapsed_s` seconds."""
    trips, turn_s = ALONE if alone else SHARED  # programs take turns on their cores
    return int(passed / elapsed_s * (trips * round_trip_s + turn_s))


class ReceivedBytes(Protocol):
    """Inbound direction of a connection, as flow control looks at it."""

    @property
    def received(self) -> int:
        """Number of bytes received."""

    @property
    def spent(self) -> bool:
        """Return whether the peer has used up its credit and waits for a local side that takes nothing."""

    def take_back(self) -> None:
        """Give back the growth of the window; withhold credit for these bytes when they leave."""


class MeasuredRoundTrip(Protocol):
    """Round trip of a tunnel."""

    def refreshed_s(self) -> float:
        """Return the round trip in seconds of a tunnel that queues nothing; measure it again if it is old."""


class FlowControl:
    """Window growth of one tunnel's connections, and whether light traffic was seen among them. Sends nothing.

    Args:
        budget: memory limits of the process.
        clock: returns seconds.
        round_trip: round trip of the tunnel.

    """

    __slots__ = (
        "_flows",
        "_grown",
        "_light_at",
        "_looked_at",
        "_owed",
        "_searched_at",
        "_spent",
        "budget",
        "clock",
        "round_trip",
    )

    def __init__(self, budget: MemoryBudget, clock: Callable[[], float], round_trip: MeasuredRoundTrip) -> None:
        self.budget = budget
        self.clock = clock
        self.round_trip = round_trip
        self._flows: dict[ReceivedBytes, tuple[int, float]] = {}  # bytes received at the last look, and its time
        self._grown = 0  # bytes of all windows beyond their first size
        self._owed = 0  # bytes taken back from stalled connections, which still wait for their local sides
        self._searched_at = 0.0  # time of the last search for stalled connections
        self._spent: dict[ReceivedBytes, int] = {}  # connections without credit at that time, and their bytes received
        self._light_at = -SHARED_S  # time at which light traffic was last seen
        self._looked_at = 0.0  # time of the last check for light traffic

    def open(self, flow: ReceivedBytes) -> Window:
        """Return the window of a new connection."""
        self._flows[flow] = (0, self.clock())
        return Window(self, flow)

    def close(self, flow: ReceivedBytes, window: int, owed: int) -> None:
        """Forget a connection whose window was `window` bytes, and which owed `owed` bytes of credit."""
        del self._flows[flow]
        self._spent.pop(flow, None)
        self.release(window - self.budget.initial_window)
        self.settle(owed)

    @property
    def room(self) -> int:
        """Return the number of bytes by which all windows together may grow; if negative, must shrink."""
        budget = self.budget
        total = budget.tunnel_budget
        # The growth of windows leaves a quarter to dials: connections that stall with their first windows.
        most = min(total // 4 * 3, total - min(len(self._flows), SPARED) * budget.initial_window)
        return min(total // 2, most - self._owed) - self._grown

    def reserve(self, size: int) -> int:
        """Reserve up to `size` bytes of window growth and return the number of bytes granted."""
        if self.room < size:
            self._take_back()
        size = min(size, self.room)
        if size <= 0 or not self.budget.reserve_growth(size):
            return 0
        self._grown += size
        return size

    def release(self, size: int) -> None:
        """Return `size` bytes of reserved window growth."""
        self._grown -= size
        self.budget.release_growth(size)

    def owe(self, size: int) -> None:
        """Move `size` bytes of window growth to what stalled connections hold: they are promised to none of them."""
        self._grown -= size
        self._owed += size
        self.budget.owe(size)

    def settle(self, size: int) -> None:
        """Count `size` bytes, taken back from a connection that stalled, as gone to its local side."""
        self._owed -= size
        self.budget.settle(size)

    def _take_back(self) -> None:
        """Take the growth back from connections without credit that have received nothing since the last search."""
        now = self.clock()
        if now - self._searched_at < LOOK_INTERVAL_S + LOOK_EACH_S * len(self._flows):
            return
        self._searched_at = now
        before, self._spent = self._spent, {flow: flow.received for flow in self._flows if flow.spent}
        for flow, received in self._spent.items():
            if before.get(flow) == received:
                flow.take_back()

    def alone(self, flow: ReceivedBytes, now: float) -> bool:
        """Return whether no connection other than `flow` received at a low rate lately."""
        if now - self._looked_at > LOOK_INTERVAL_S + LOOK_EACH_S * len(self._flows):
            self._look(flow, now)
        return now - self._light_at > SHARED_S

    def _look(self, flow: ReceivedBytes, now: float) -> None:
        """Record whether any connection other than `flow` is receiving at a low rate.

        A connection that its window holds back does not count: bulk data on a long line begins slowly, too.
        """
        flows = self._flows
        least = self.budget.initial_window / 4 / max(self.round_trip.refreshed_s(), RATE_S)  # bytes per second
        for each, (before, since) in flows.items():
            received = each.received
            if each is not flow and 0 < received - before < min(LIGHT, least) * (now - since):
                self._light_at = now
            flows[each] = (received, now)
        self._looked_at = now


class Window:
    """Flow-control window of one connection: the bytes its peer may have in flight.

    Attributes:
        size: the window, in bytes.
        step: bytes that leave before credit is returned for them.
        owed: bytes beyond the window that wait here since it was taken back: no credit is returned for them.

    """

    __slots__ = ("_flow", "_passed", "_rested_at", "_returned_at", "_shared", "owed", "size", "step")

    def __init__(self, shared: FlowControl, flow: ReceivedBytes) -> None:
        self.size = shared.budget.initial_window
        self.step = self.size // 2
        self.owed = 0
        self._shared = shared
        self._flow = flow
        self._passed = 0  # bytes that left since the size was last computed
        self._returned_at = self._rested_at = shared.clock()

    def credit_for(self, size: int) -> int:
        """Return the bytes of credit to grant for `size` bytes that left: more where the window grows."""
        self._passed += size
        if self.owed:
            return self._settle(size)
        if self.size > self._shared.budget.initial_window and self._rested():
            return size - self._shrink(size)
        if self._passed * 2 >= self.size:
            return size + self._follow(size)
        return size

    def close(self) -> None:
        """Return what the window has grown by."""
        self._shared.close(self._flow, self.size, self.owed)

    def take_back(self) -> None:
        """Shrink the window of a stalled connection to its first size, and owe the difference, which waits here."""
        first = self._shared.budget.initial_window
        self._shared.owe(self.size - first)
        self.owed += self.size - first
        self._resize(first)
        self._passed = 0

    def _settle(self, size: int) -> int:
        """Return the credit for `size` bytes that left, less what was taken back."""
        paid = min(size, self.owed)
        self.owed -= paid
        self._shared.settle(paid)
        self._returned_at = self._shared.clock()
        self._passed = 0
        return size - paid

    def _follow(self, size: int) -> int:
        """Follow the connection's rate; return the difference to `size` in the credit to grant."""
        wanted = self._wanted()
        if wanted is None:
            return 0
        self._passed = 0
        over = -self._shared.room
        if over > 0:
            return -self._shrink(min(size, over))
        wanted = min(wanted, self.size * GROWTH, self._shared.budget.max_window)
        if wanted < self.size * SHRINK:
            return -self._shrink(min(size, self.size - wanted))
        more = self._shared.reserve(wanted - self.size) if wanted > self.size else 0
        self._resize(self.size + more)
        return more

    def _shrink(self, size: int) -> int:
        """Shrink the window by up to `size` bytes and return the number of bytes it shrank by."""
        less = max(0, min(size, self.size - self._shared.budget.initial_window))
        self._shared.release(less)
        self._resize(self.size - less)
        self._passed = 0
        return less

    def _resize(self, size: int) -> None:
        self.size = size
        self.step = min(size // 2, MAX_STEP)

    def _wanted(self) -> int | None:
        """Return the size that the window should have, in bytes; None if it is too early to tell."""
        shared = self._shared
        now = self._rested_at = shared.clock()
        elapsed = now - self._returned_at
        round_trip = shared.round_trip.refreshed_s()
        if elapsed < max(round_trip, RATE_S):
            return None
        self._returned_at = now
        return wanted(self._passed, elapsed, round_trip, shared.alone(self._flow, now))

    def _rested(self) -> bool:
        """Return whether the last return of credit was long ago; note this one."""
        now = self._shared.clock()
        slow = now - self._rested_at > REST_S
        self._rested_at = now
        return slow
