"""Turns on a shared stream: round-robin by bytes, quiet senders first. Pure.

A sender that starts to wait goes to the `fresh` queue and gets its first turn from there; if it still has bytes after
that turn it goes to the `busy` queue. Turns alternate between the two, so a keystroke passes a bulk transfer and many
keystrokes cannot starve it (after the fq_codel scheduler, RFC 8290 section 4.2).
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

QUANTUM: Final = 64 * 1024  # bytes per turn


class Sender(Protocol):
    """Sender of bytes on the stream. A sender waits in the scheduler at most once."""

    def take_turn(self, quantum: int) -> bool:
        """Send up to `quantum` bytes; return True to wait for another turn."""


class Scheduler:
    """Queues of one tunnel's senders that wait for their turn. Knows no stream: its owner pauses and resumes it.

    Attributes:
        clear: whether a sender may send without a turn: no sender waits, and the stream takes more.

    """

    __slots__ = ("_busy", "_fresh", "_fresh_next", "_paused", "clear")

    def __init__(self) -> None:
        self.clear = True
        self._fresh: deque[Sender] = deque()
        self._busy: deque[Sender] = deque()
        self._fresh_next = True
        self._paused = False

    def add(self, sender: Sender) -> None:
        """Let a sender that does not wait yet wait for its turn, and give the turns that the stream allows."""
        self._fresh.append(sender)
        self._run()

    def pause(self) -> None:
        """Give no turns: the stream is congested."""
        self._paused = True
        self.clear = False

    def resume(self) -> None:
        """Give turns again."""
        self._paused = False
        self._run()

    def _run(self) -> None:
        while not self._paused and (self._fresh or self._busy):
            self._turn()
        self.clear = not (self._paused or self._fresh or self._busy)

    def _turn(self) -> None:
        fresh = self._fresh if self._fresh and (self._fresh_next or not self._busy) else None
        queue = self._busy if fresh is None else fresh
        self._fresh_next = fresh is None
        sender = queue.popleft()
        if sender.take_turn(QUANTUM):
            self._busy.append(sender)
