"""Pauses in the reading of one connection that many users share: the peer is slowed down, and no user is cut.

Reasons for a pause: a flood of frames that move no data, for a time; answers that wait because the peer does not read
its socket, until it does; and a read that took long, until the connection's turn. Knows nothing of HTTP/2.
"""

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from collections.abc import Callable

from konnectivity.runtime.progress_limit import ProgressLimit


class ReadingPause:
    """Owner of `pause_reading` and `resume_reading` of one transport, beside the turns of slow readers.

    Args:
        transport: transport whose reading pauses.
        most_unread: bytes in its write buffer above which nothing is read.
        timeout_s: seconds without progress after which a peer that does not read is given up.
        reached: counter of reached limits, by name.
        give_up: called when the peer is given up.
        loop: event loop of the transport.

    """

    __slots__ = (
        "_deadline",
        "_give_up",
        "_loop",
        "_most_unread",
        "_reached",
        "_rest",
        "_timeout_s",
        "_transport",
        "_waits_its_turn",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        most_unread: int,
        timeout_s: float,
        reached: Counter[str],
        give_up: Callable[[], object],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._waits_its_turn = False
        self._transport = transport
        self._loop = loop
        self._most_unread = most_unread
        self._timeout_s = timeout_s
        self._reached = reached
        self._give_up = give_up
        self._rest: asyncio.TimerHandle | None = None
        self._deadline: ProgressLimit[int] | None = None  # while the peer must read

    @property
    def paused(self) -> bool:
        """Return whether there is a reason to read nothing."""
        return self._rest is not None or self._deadline is not None or self._waits_its_turn

    def begin_wait(self) -> None:
        """Keep the reading paused until `end_wait`: the connection waits for its turn."""
        self._waits_its_turn = True

    def end_wait(self) -> None:
        """Drop this reason for a pause; whoever waited resumes the reading if no other reason is left."""
        self._waits_its_turn = False

    def read(self, overdue_s: float) -> None:
        """Record a read, and read nothing for `overdue_s` seconds because of a flood of control frames."""
        if self._transport.is_closing():
            return
        if overdue_s and self._rest is None:
            self._reached["control_frames"] += 1
            self._rest = self._loop.call_later(overdue_s, self._rested)
        if self.paused:
            self._transport.pause_reading()

    def written(self) -> None:
        """Read nothing until the peer has read, if too much waits in the write buffer."""
        if self._deadline is None and self._unread() > self._most_unread and not self._transport.is_closing():
            self._reached["unread_bytes"] += 1
            self._transport.pause_reading()
            self._deadline = ProgressLimit(self._loop, self._timeout_s, self._unread, self._give_up, operator.gt)

    def drained(self) -> None:
        """Read again: the peer has read what was written."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._resume()

    def close(self) -> None:
        """Cancel the timers."""
        for timer in (self._rest, self._deadline):
            if timer is not None:
                timer.cancel()
        self._rest = self._deadline = None

    def _unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def _rested(self) -> None:
        self._rest = None
        self._resume()

    def _resume(self) -> None:
        if not self.paused and not self._transport.is_closing():
            self._transport.resume_reading()
