"""A token bucket: so many requests a second, and a burst of them at once. Pure: the time is told."""

from __future__ import annotations


class TokenBucket:
    """Starts full.

    Args:
        rate: tokens a second; above 0.
        size: how many it holds; at least 1.

    """

    __slots__ = ("_at", "_closed_until", "_tokens", "rate", "size")

    def __init__(self, rate: float, size: int) -> None:
        self.rate = rate
        self.size = size
        self._tokens = float(size)
        self._at = 0.0
        self._closed_until = 0.0

    def delay(self, now: float) -> float:
        """Seconds until `take` is allowed; 0: now."""
        self._fill(now)
        missing = (1.0 - self._tokens) / self.rate if self._tokens < 1.0 else 0.0
        return max(missing, self._closed_until - now, 0.0)

    def take(self, now: float) -> None:
        """Use up one token, after `delay` has said 0."""
        self._fill(now)
        self._tokens -= 1.0

    def close(self, until: float) -> None:
        """Give nothing before that time: the other side asked for it."""
        self._closed_until = max(self._closed_until, until)

    def _fill(self, now: float) -> None:
        self._tokens = min(float(self.size), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)
