"""Whose turn it is on a shared line: round-robin by bytes, those that were quiet first. Pure.

A link that starts to wait goes to the `fresh` queue and gets its first turn from there; if it still has bytes after
that turn it goes to the `busy` queue. Turns alternate between the two, so a keystroke passes a bulk transfer and many
keystrokes cannot starve it (after the fq_codel scheduler, RFC 8290 section 4.2).
"""

from __future__ import annotations

from collections import deque

from konnectivity.tunnel.connection import Connection

QUANTUM = 64 * 1024  # bytes per turn


class Scheduler:
    """The links of one tunnel that have bytes to send and credit for them."""

    __slots__ = ("_fresh_next", "busy", "fresh")

    def __init__(self) -> None:
        self.fresh: deque[Connection] = deque()
        self.busy: deque[Connection] = deque()
        self._fresh_next = True

    def __bool__(self) -> bool:
        return bool(self.fresh or self.busy)

    def add(self, link: Connection) -> None:
        """A link has begun to wait."""
        if not link.scheduled:
            link.scheduled = True
            self.fresh.append(link)

    def turn(self) -> None:
        """Give the next link its turn."""
        fresh = self.fresh if self.fresh and (self._fresh_next or not self.busy) else None
        queue = self.busy if fresh is None else fresh
        self._fresh_next = fresh is None
        link = queue.popleft()
        link.scheduled = False
        if link.take_turn(QUANTUM) and not link.scheduled:
            link.scheduled = True
            self.busy.append(link)
