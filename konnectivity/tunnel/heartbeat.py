"""Is the peer of a tunnel still there? Pings a silent one, suspects it when no answer comes, gives it up in the end.

Anything heard counts as an answer: a line that carries data is alive, however long its queue. Owns its timer and its
verdict, not what follows from it. A stream whose transport cannot ping is believed alive.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from time import monotonic

from konnectivity.grpc.message_stream import MessageStream

INTERVAL_S = 10.0
SUSPECT_AFTER_S = 3.0  # a ping without an answer
DEAD_AFTER_S = 20.0  # the same, for good


class HeartbeatVerdict(enum.Enum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"


class Heartbeat:
    """Watches one stream from `start` to `stop`.

    Args:
        stream: of the peer.
        ping: asks the peer for a sign of life.
        interval_s: how long it may be silent before it is pinged; 0: it is not watched.
        on_change: called with each new verdict. After DEAD the heartbeat has stopped.
        suspect_after_s: how long a ping may be without an answer; None: `SUSPECT_AFTER_S`.

    """

    def __init__(
        self,
        stream: MessageStream,
        ping: Callable[[], object],
        interval_s: float,
        on_change: Callable[[HeartbeatVerdict], object],
        suspect_after_s: float | None = None,
    ) -> None:
        self.verdict = HeartbeatVerdict.ALIVE
        self._stream = stream
        self._ping = ping
        self._interval_s = interval_s
        self._on_change = on_change
        self._suspect_after_s = SUSPECT_AFTER_S if suspect_after_s is None else suspect_after_s
        self._loop = asyncio.get_running_loop()
        self._asked_at: float | None = None  # a ping is out, and nothing was heard since
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._interval_s and self._stream.heard_at is not None:
            self._arm(self._interval_s)

    def stop(self) -> None:
        """For good. Its owner, to whom the callbacks belong, is forgotten."""
        self._cancel_timer()
        self._ping = self._on_change = _nobody

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def probe(self) -> None:
        """Something is late: ask now."""
        if self._timer is not None and self._asked_at is None:
            self._ask()

    def _ask(self) -> None:
        self._asked_at = monotonic()
        self._ping()
        self._arm(self._suspect_after_s)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        now, heard_at = monotonic(), self._stream.heard_at or 0.0
        if self._asked_at is None or heard_at > self._asked_at:
            self._asked_at = None
            self._change(HeartbeatVerdict.ALIVE)
            silent = now - heard_at
            if silent < self._interval_s:
                self._arm(self._interval_s - silent)
            else:
                self._ask()
            return
        silent = now - self._asked_at
        if silent >= DEAD_AFTER_S:
            self._cancel_timer()
            self._change(HeartbeatVerdict.DEAD)
            self.stop()
        else:
            # Short steps from here on: a peer that comes back is not suspected for longer than it has to.
            self._arm(0.2)
            self._change(HeartbeatVerdict.SUSPECT)

    def _change(self, verdict: HeartbeatVerdict) -> None:
        if verdict is not self.verdict:
            self.verdict = verdict
            self._on_change(verdict)


def _nobody(*_: object) -> None:
    """Who is asked and told after the end."""
