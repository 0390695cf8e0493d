"""Pauses in the reading of one connection that many users share: the peer is slowed down, and nobody is cut.

The reasons for a pause: a flood of frames that move no data, for a time; answers that wait because the peer does not
read its socket, until it does; and a read that took long, until it is the connection's turn. Knows nothing of HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable


class ReadingPause:
    """The one owner of `pause_reading` and `resume_reading` of a transport, beside the turns of slow readers.

    Args:
        transport: whose reading pauses.
        most_unread: bytes in its write buffer above which nothing is read.
        timeout_s: after which a peer that is waited for, and has read nothing, is given up.
        reached: counts, by name, how often which limit was reached.
        give_up: called then.

    """

    def __init__(
        self,
        transport: asyncio.Transport,
        most_unread: int,
        timeout_s: float,
        reached: Counter[str],
        give_up: Callable[[], object],
    ) -> None:
        self.waits_its_turn = False
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._most_unread = most_unread
        self._timeout_s = timeout_s
        self._reached = reached
        self._give_up = give_up
        self._rest: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._left = 0  # bytes unread when the deadline was set

    def read(self, overdue_s: float) -> None:
        """Note that something was read; read nothing for `overdue_s`, because of a flood of control frames."""
        if self._transport.is_closing():
            return
        if overdue_s and self._rest is None:
            self._reached["control_frames"] += 1
            self._rest = self._loop.call_later(overdue_s, self._rested)
        if self.paused:
            self._transport.pause_reading()

    def written(self) -> None:
        """Read nothing until the peer has read, if more waits in the write buffer than may."""
        if self._deadline is None and self._unread > self._most_unread and not self._transport.is_closing():
            self._reached["unread_bytes"] += 1
            self._transport.pause_reading()
            self._wait()

    def drained(self) -> None:
        """The peer has read what was written."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._resume()

    def close(self) -> None:
        for timer in (self._rest, self._deadline):
            if timer is not None:
                timer.cancel()

    @property
    def _unread(self) -> int:
        return self._transport.get_write_buffer_size()

    def _rested(self) -> None:
        self._rest = None
        self._resume()

    @property
    def paused(self) -> bool:
        """Return whether there is a reason to read nothing."""
        return self._rest is not None or self._deadline is not None or self.waits_its_turn

    def _resume(self) -> None:
        if not self.paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait(self) -> None:
        self._left = self._unread
        self._deadline = self._loop.call_later(self._timeout_s, self._expired)

    def _expired(self) -> None:
        if self._unread < self._left:
            self._wait()
        else:
            self._give_up()
