"""Heartbeat of a tunnel: pings a silent peer, suspects it when no answer arrives, and ends the stream in the end.

Owns its timer and its verdict. Every byte heard counts as an answer: a stream that carries data is alive, however long
its queue. A stream whose transport cannot ping is believed alive. Does not know what follows from a suspicion.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from konnectivity.grpc.message_stream import MessageStream

SUSPECT_AFTER_S = 3.0  # a ping without an answer
DEAD_AFTER_S = 20.0  # the same, for good
RECHECK_S = 0.2  # between two looks at a suspected peer
# A side with a crowd of peers pings all that are due within BATCH_S in one pass of the event loop, and earlier by the
# share LEAD of the interval: the peers, which have the same interval, hear the ping and need not send their own.
BATCH_S = 0.05
LEAD = 0.05


class HeartbeatVerdict(enum.Enum):
    """Judgment on the peer of a stream."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"


class HeartbeatOwner(Protocol):
    """Owner of a heartbeat, which hears its news."""

    def peer_suspected(self) -> None:
        """Handle a peer that does not answer a ping."""

    def peer_recovered(self) -> None:
        """Handle a suspected peer that answers again."""


class Heartbeat:
    """Watch over one stream, from `start` to `stop`.

    Args:
        stream: the stream; aborted when the peer is given up.
        ping: asks the peer for a sign of life.
        interval_s: seconds of silence before a ping; 0: no pings.
        owner: hears about suspicions.
        peer: noun for the peer in the reason of the end, such as "agent".
        suspect_after_s: seconds without an answer to a ping before the peer is suspected.
        clock: returns seconds; the clock of `stream.heard_at`.
        crowd: whether this side has many such peers, and pings them in batches.

    """

    def __init__(
        self,
        stream: MessageStream,
        ping: Callable[[], object],
        interval_s: float,
        owner: HeartbeatOwner,
        peer: str,
        suspect_after_s: float = SUSPECT_AFTER_S,
        clock: Callable[[], float] = monotonic,
        crowd: bool = False,
    ) -> None:
        self._verdict = HeartbeatVerdict.ALIVE
        self._stream = stream
        self._ping = ping
        self._interval_s = interval_s
        self._owner = owner
        self._peer = peer
        self._suspect_after_s = suspect_after_s
        self._clock = clock
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._asked_at: float | None = None  # time of the last ping, if nothing has arrived since
        self._timer: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        """Return whether the peer answers, as far as known."""
        return self._verdict is HeartbeatVerdict.ALIVE

    def start(self) -> None:
        """Watch the stream from now on, if pings are wanted and the transport can ping."""
        if self._interval_s and self._stream.heard_at is not None:
            now = self._clock()
            self._arm(self._due(now) - now)

    def stop(self) -> None:
        """Watch no longer, and forget the owner."""
        self._cancel_timer()
        self._ping, self._owner = _no_ping, _NOBODY

    def probe(self) -> None:
        """Ping the peer now, unless a ping is unanswered already."""
        if self._timer is not None and self._asked_at is None:
            self._ask()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        self._asked_at = self._clock()
        self._ping()
        self._arm(self._suspect_after_s)

    def _due(self, heard_at: float) -> float:
        """Return the time of the ping to a peer that was heard last at `heard_at`."""
        if not self._crowd:
            return heard_at + self._interval_s
        batch_s = min(BATCH_S, self._interval_s * LEAD)
        return (heard_at + self._interval_s * (1 - LEAD)) // batch_s * batch_s

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        now, heard_at = self._clock(), self._stream.heard_at or 0.0
        if self._asked_at is None or heard_at > self._asked_at:
            self._answered(now, heard_at)
            return
        if now - self._asked_at >= DEAD_AFTER_S:
            self._verdict = HeartbeatVerdict.DEAD
            self.stop()
            self._stream.abort(f"the {self._peer} answers no ping")
            return
        # Short steps from here on: a peer that answers again is not suspected for longer than necessary.
        self._arm(RECHECK_S)
        if self._verdict is HeartbeatVerdict.ALIVE:
            self._verdict = HeartbeatVerdict.SUSPECT
            self._owner.peer_suspected()

    def _answered(self, now: float, heard_at: float) -> None:
        self._asked_at = None
        due = self._due(heard_at)
        if now < due:
            self._arm(due - now)
        else:
            self._ask()
        if self._verdict is HeartbeatVerdict.SUSPECT:
            self._verdict = HeartbeatVerdict.ALIVE
            self._owner.peer_recovered()


class _NoHeartbeatOwner:
    """Owner of a heartbeat that has stopped."""

    def peer_suspected(self) -> None: ...

    def peer_recovered(self) -> None: ...


_NOBODY: HeartbeatOwner = _NoHeartbeatOwner()


def _no_ping() -> None: ...
