"""How large the windows of a tunnel's connections are: by rate, by round trip, by who else is there. Pure.

What is under way on a line is what others wait behind: bytes beyond rate x round trip stand in a queue, in the kernel
of whichever program is busy. So beside connections that receive little (a terminal, a log) a window is what makes a
loaded round trip about twice an empty one; where all are bulk it may be more, which is faster.

Owns what the windows have grown by, and the times at which they were looked at. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from konnectivity.tunnel.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from konnectivity.tunnel.connection import Connection

SHARED = (2, 0.0003)  # so many round trips, and seconds, of its rate: beside connections that receive little
ALONE = (4, 0.003)  # and where there are none
SHARED_S = 2.0  # after such a connection was seen: longer than between two keystrokes
COMPANY_S = 0.1  # between two looks for one
COMPANY_EACH_S = 0.0001  # and so much more for each connection there is: a look goes over all of them
LIGHT = 1024 * 1024  # bytes per second: less is little
LOOK_S = 0.005  # a rate is taken over this time, and a round trip, at least: bytes come in bursts
GROWTH = 4  # times, at most, at each step of a window
SHRINK = 0.75  # of it, and less: a window that should be so small becomes it. Else it is left as it is
MAX_STEP = 512 * 1024  # of credit that goes back at a time: a sender far away should not wait for half a window
REST_S = 10.0  # between two returns of credit, after which a window is larger than it need be
SPARED = 104  # connections that may stall with their first window full, when others' have grown


def wanted(passed: int, elapsed_s: float, round_trip_s: float, alone: bool) -> int:
    """The window, in bytes, of a connection of which `passed` bytes went by in `elapsed_s` seconds."""
    trips, turn_s = ALONE if alone else SHARED  # programs take turns on their cores
    return int(passed / elapsed_s * (trips * round_trip_s + turn_s))


class FlowControl:
    """Of one tunnel.

    Args:
        ledger: of the process.
        links: the tunnel's connections, by id.
        clock: seconds.

    """

    __slots__ = ("_clock", "_company_at", "_grown", "_ledger", "_links", "_looked_at")

    def __init__(
        self,
        ledger: MemoryBudget,
        links: Mapping[int, Connection],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._clock = clock
        self._grown = 0  # bytes beyond their first size
        self._company_at = -SHARED_S  # when somebody was seen who should not wait behind bulk
        self._looked_at = 0.0  # for company

    def opened(self, link: Connection) -> None:
        link.opened_at = link.returned_at = link.rested_at = self._clock()

    def granted_again(self, link: Connection, size: int) -> int:
        """How much credit goes back to the link's peer for `size` bytes that left: more where the window grows."""
        link.passed += size
        if link.window > self._ledger.initial_window and self._rested(link):
            return size - self._shrink(link, size)
        if link.passed * 2 >= link.window:
            return size + self._follow(link, size)
        return size

    def closed(self, link: Connection) -> None:
        self._book(-max(0, link.window - self._ledger.initial_window))

    def _follow(self, link: Connection, size: int) -> int:
        """Follow the link's rate; by how much more (or less) than `size` is granted again."""
        wanted = self._wanted(link, link.passed)
        if wanted is None:
            return 0
        link.passed = 0
        window = link.window
        wanted = min(wanted, window * GROWTH, self._ledger.max_window)
        if wanted < window * SHRINK:
            return -self._shrink(link, min(size, window - wanted))
        more = self._grow(wanted - window) if wanted > window else 0
        self._resize(link, window + more)
        return more

    def _shrink(self, link: Connection, size: int) -> int:
        """A connection that has become slow needs no large window: bytes of `size` that are not granted again."""
        less = max(0, min(size, link.window - self._ledger.initial_window))
        self._book(-less)
        self._resize(link, link.window - less)
        link.passed = 0
        return less

    @staticmethod
    def _resize(link: Connection, window: int) -> None:
        link.window = window
        link.step = min(window // 2, MAX_STEP)

    def _wanted(self, link: Connection, passed: int) -> int | None:
        """How large the link's window should be, `passed` bytes after the last answer; None: too early to say."""
        now = link.rested_at = self._clock()
        elapsed = now - link.returned_at
        round_trip = link.line.round_trip_s
        if elapsed < max(round_trip, LOOK_S):
            return None
        link.returned_at = now
        if now - self._looked_at > COMPANY_S + COMPANY_EACH_S * len(self._links):
            self._look_for_company(link, now)
        return wanted(passed, elapsed, round_trip, now - self._company_at > SHARED_S)

    def _grow(self, size: int) -> int:
        """By how much, at most `size`, a window may be larger, so that all keep within their budgets; books it."""
        # All windows full must not use up the tunnel's memory: its dials would be refused.
        budget = self._ledger.tunnel_budget
        room = min(budget // 2, budget - SPARED * self._ledger.initial_window) - self._grown
        size = min(size, room)
        if size <= 0 or not self._ledger.grow(size):
            return 0
        self._grown += size
        return size

    def _book(self, size: int) -> None:
        """Windows are so much larger (or smaller) than they were."""
        self._grown += size
        self._ledger.grown += size

    def _rested(self, link: Connection) -> bool:
        """Whether long ago was the last time that this or `_wanted` was asked."""
        now = self._clock()
        slow = now - link.rested_at > REST_S
        link.rested_at = now
        return slow

    def _look_for_company(self, link: Connection, now: float) -> None:
        """Whether other connections than this one receive, and little."""
        for each in self._links.values():
            moved, each.seen = each.received - each.seen, each.received
            seconds = now - max(self._looked_at, each.opened_at)
            if each is not link and 0 < moved < LIGHT * seconds:
                self._company_at = now
        self._looked_at = now
