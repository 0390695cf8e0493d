"""Time limit of a peer that must make progress: it begins anew with each progress."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOKS = 10  # for progress, in the time of a limit: it ends at most a tenth late


class ProgressLimit(Generic[T]):
    """Time limit, from when it is made until it has expired or is cancelled.

    Args:
        loop: event loop of its timer.
        timeout_s: seconds without progress after which it expires.
        measure: returns how far the peer is.
        expired: called when the limit has expired.
        is_progress: returns whether the second of two measures is progress after the first one.

    """

    __slots__ = ("_due", "_expired", "_is_progress", "_loop", "_measure", "_reached", "_timeout_s", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        measure: Callable[[], T],
        expired: Callable[[], object],
        is_progress: Callable[[T, T], bool] = operator.ne,
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._measure = measure
        self._expired = expired
        self._is_progress = is_progress
        self._reached = measure()
        self._due = loop.time() + timeout_s
        self._timer = self._look_later()

    def cancel(self) -> None:
        """End the limit: it does not expire."""
        self._timer.cancel()

    def _look_later(self) -> asyncio.TimerHandle:
        return self._loop.call_at(min(self._loop.time() + self._timeout_s / _LOOKS, self._due), self._look)

    def _look(self) -> None:
        now = self._measure()
        if self._is_progress(self._reached, now):
            self._reached, self._due = now, self._loop.time() + self._timeout_s
        elif self._loop.time() >= self._due:
            self._expired()
            return
        self._timer = self._look_later()
