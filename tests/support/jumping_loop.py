"""Event loop whose clock stands still while there is work, and jumps to the next timer when all tasks wait.

A test on it takes no time, however long its timeouts are, and every run has the same order of events. For code in
memory only: nothing outside the process moves the clock.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Selector that never waits: it moves the clock of its loop instead."""

    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("all tasks wait, and no timer is set")
        if not found and timeout:
            self.loop.now += timeout
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """Event loop with a clock of its own, which starts at 1000 seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the loop's own time in seconds."""
        return self.now
