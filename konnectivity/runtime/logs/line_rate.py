"""Rate limit for log lines that a peer can cause: a number of lines per interval, and a count of those left out.

`LineRate` owns the counts per message and peer. It is bounded in keys and in bytes per key, knows no log, and reads
time from an injected clock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

INTERVAL_S = 10.0
LINES_PER_PEER = 10  # lines with one message about one peer, per interval
LINES_PER_MESSAGE = 200  # lines with one message about all peers together, per interval
MAX_KEYS = 2_000  # pairs of message and peer that are remembered; the one unused for longest is forgotten
MAX_KEY_LENGTH = 256  # characters of a peer's name that tell it from others


class _Window:
    """Count of the lines of one key in the current interval."""

    __slots__ = ("began", "left_out", "lines")

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines = 0
        self.left_out = 0  # since the last line that was let through

    def has_room(self, now: float, interval_s: float, lines: int) -> bool:
        """Return whether another line fits in the interval, after starting a new interval if the last one is over."""
        if now - self.began >= interval_s:
            self.began, self.lines = now, 0
        return self.lines < lines

    def take_left_out(self) -> int:
        """Count a line that is let through and return the number of lines left out before it."""
        self.lines += 1
        left_out, self.left_out = self.left_out, 0
        return left_out


class LineRate:
    """Limits lines per message and peer, and per message over all peers.

    Args:
        clock: returns monotonic seconds.
        interval_s: length of an interval in seconds.
        per_peer: lines with one message about one peer, per interval.
        per_message: lines with one message about all peers together, per interval.
        max_keys: pairs of message and peer that are remembered.

    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = INTERVAL_S,
        per_peer: int = LINES_PER_PEER,
        per_message: int = LINES_PER_MESSAGE,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self.left_out = 0  # lines of all keys, since the start
        self._clock = clock
        self._interval_s = interval_s
        self._per_peer = per_peer
        self._per_message = per_message
        self._max_keys = max_keys
        self._peers: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self._messages: dict[str, _Window] = {}  # messages are fixed texts of the program: their number is bounded
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of pairs of message and peer that are remembered."""
        return len(self._peers)

    def take(self, message: str, peer: str) -> tuple[int, int] | None:
        """Count a line. Return None if it must be left out, or the numbers of lines left out before it.

        Args:
            message: fixed text of the line.
            peer: name of the peer, or of the source, that caused the line.

        Returns:
            The number of lines left out about this peer, and the number left out about peers that were forgotten.

        """
        with self._lock:
            now = self._clock()
            of_all = self._messages.get(message) or self._messages.setdefault(message, _Window(now))
            of_peer = self._window(message, peer[:MAX_KEY_LENGTH], now)
            if of_peer.has_room(now, self._interval_s, self._per_peer) and of_all.has_room(
                now, self._interval_s, self._per_message
            ):
                return of_peer.take_left_out(), of_all.take_left_out()
            of_peer.left_out += 1
            self.left_out += 1
            return None

    def _window(self, message: str, peer: str, now: float) -> _Window:
        key = (message, peer)
        window = self._peers.get(key)
        if window is not None:
            self._peers.move_to_end(key)
            return window
        if len(self._peers) >= self._max_keys:
            (of, _), forgotten = self._peers.popitem(last=False)
            self._messages[of].left_out += forgotten.left_out
        self._peers[key] = window = _Window(now)
        return window
