"""A line that goes wrong when it is told to: slow, narrow, garbled, cut, silent, refusing; and that heals.

Like `delay`'s it is a TCP relay on loopback in a thread of its own. Every fault holds for all connections of the line,
for those that stand and those that come, until `heal`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from support.delayed_line import DelayedLine, End

Direction = Literal["out", "back", "both"]  # from who connected to the line, towards him, or both

_CHECK_S = 0.02  # how often what is held looks whether it may go on
_CALL_TIMEOUT_S = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Conditions:
    """What the line is like now."""

    delay_s: float = 0.0  # one way
    rate: float = 0.0  # bytes a second in each direction; 0: as fast as it goes
    held: bool = False
    lost: Direction | None = None
    garbled: Direction | None = None  # the next piece only
    refusing: bool = False


class _FaultyEnd(End):
    """One side of a connection that looks at the conditions for each piece."""

    window = 256 * 1024  # what a narrow line's buffers hold, is late by as much

    def __init__(self, conditions: Conditions, direction: Direction, ends: set[End]) -> None:
        super().__init__(0.0, ends)
        self._conditions = conditions
        self._direction = direction  # of what is received here
        self._last = 0.0  # when the last piece arrives
        self.orphan = False  # the other side went, and the line did not let that through

    def arrival(self, size: int) -> float:
        now, conditions = self._loop.time(), self._conditions
        self._last = max(now + conditions.delay_s, self._last)
        if conditions.rate:
            self._last += size / conditions.rate
        return self._last

    def _concerns(self, what: Direction | None) -> bool:
        return what in ("both", self._direction)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._conditions.refusing:
            self.reset()

    def _queue(self, data: bytes) -> None:
        conditions = self._conditions
        if self._concerns(conditions.lost):
            return
        if data and self._concerns(conditions.garbled):
            conditions.garbled = None
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x20]) + data[middle + 1 :]
        super()._queue(data)

    def _arrive(self) -> None:
        if not self._conditions.held:
            super()._arrive()
        elif self.transport is not None:
            self._timer = self._loop.call_later(_CHECK_S, self._arrive)

    def connection_lost(self, exc: Exception | None) -> None:
        other = self.other
        if isinstance(other, _FaultyEnd) and (self._conditions.held or self._concerns(self._conditions.lost)):
            self.other, other.orphan = None, True  # which thus hears nothing of it
        super().connection_lost(exc)

    def reset(self) -> None:
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class FaultyLine(DelayedLine):
    """See the module: `with FaultyLine(("127.0.0.1", port)) as line: line.cut()`. Callable from any thread."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target, 0.0)
        self._conditions = Conditions()

    def make_end(self, near: bool) -> End:
        return _FaultyEnd(self._conditions, "out" if near else "back", self._ends)

    @property
    def connections(self) -> int:
        """Ends of connections that the line holds; two for each."""
        return len(self._ends)

    def delay(self, one_way_s: float) -> None:
        self._change(delay_s=one_way_s)

    def throttle(self, bytes_per_s: float) -> None:
        """In each direction of each connection."""
        self._change(rate=bytes_per_s)

    def hold(self) -> None:
        """Nothing arrives, nothing is lost: what is under way arrives after `heal`."""
        self._change(held=True)

    def lose(self, direction: Direction = "both") -> None:
        """What is sent is taken and vanishes, the end of a connection as well; nobody is told."""
        self._change(lost=direction)

    def garble(self, direction: Direction = "both") -> None:
        """One bit of the next piece is another."""
        self._change(garbled=direction)

    def refuse(self) -> None:
        """Those that come are reset."""
        self._change(refusing=True)

    def cut(self, how: Literal["reset", "end"] = "reset") -> None:
        """End every connection that stands, in both directions, by RST or by FIN."""
        self._call(lambda: self._end_all(how))

    def heal(self) -> None:
        """As it was. A connection of which one side is gone is reset: the other side hears it now."""
        self._change(delay_s=0.0, rate=0.0, held=False, lost=None, garbled=None, refusing=False)
        self._call(self._end_orphans)

    def _end_all(self, how: str) -> None:
        for end in self._ends.copy():
            if end.transport is not None and isinstance(end, _FaultyEnd):
                if how == "reset":
                    end.reset()
                else:
                    end.transport.close()

    def _end_orphans(self) -> None:
        for end in self._ends.copy():
            if isinstance(end, _FaultyEnd) and end.orphan:
                end.reset()

    def _change(self, **values: object) -> None:
        def change() -> None:
            for name, value in values.items():
                setattr(self._conditions, name, value)

        self._call(change)

    def _call(self, what: Callable[[], None]) -> None:
        """Do it in the line's thread, and wait until it is done."""
        done = threading.Event()

        def do() -> None:
            what()
            done.set()

        assert self._loop is not None, "the line is not running"
        self._loop.call_soon_threadsafe(do)
        if not done.wait(_CALL_TIMEOUT_S):
            raise RuntimeError("the line does not answer")
