"""Token bucket: a rate of events, and a burst of them at once. Pure: the clock is given.

Owns the number of tokens. Does not know what a token stands for, and never waits.
"""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Bucket of `size` tokens, full at first and refilled at `rate` tokens a second.

    Taking looks at the clock only when the bucket has too few tokens, so that it costs little on a hot path. The tokens
    earned since the last look count then, up to `size`.

    Args:
        rate: tokens a second; above 0.
        size: tokens that the bucket holds at most; at least 1.
        clock: source of monotonic seconds.

    """

    __slots__ = ("_clock", "_closed_until", "_filled_at", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._size = float(size)
        self._clock = clock
        self._tokens = self._size
        self._filled_at = clock()
        self._closed_until = self._filled_at

    def take(self, count: int = 1) -> bool:
        """Take `count` tokens; return False, and take none, if there are fewer."""
        if self._tokens < count:
            self._fill(self._clock())
            if self._tokens < count:
                return False
        self._tokens -= count
        return True

    def overdraw(self, count: int) -> float:
        """Take `count` tokens even if there are fewer, and return the number of missing tokens."""
        if self._tokens >= count:
            self._tokens -= count
            return 0.0
        if not self.take(count):
            self._tokens -= count
        return max(0.0, -self._tokens)

    @property
    def overdue_s(self) -> float:
        """Seconds until no token is overdrawn; 0.0 if none is."""
        if self._tokens >= 0:
            return 0.0
        return max(0.0, -self._tokens / self._rate - (self._clock() - self._filled_at))

    def delay(self) -> float:
        """Return the seconds until one token may be taken; 0.0: now."""
        now = self._clock()
        self._fill(now)
        missing = max(0.0, 1.0 - self._tokens) / self._rate
        return max(missing, self._closed_until - now, 0.0)

    def close(self, seconds: float) -> None:
        """Let `delay` name at least `seconds` from now; a shorter time than one named before changes nothing."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
