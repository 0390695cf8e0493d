"""Return of free memory to the kernel after a burst, with glibc; without effect on other C libraries.

glibc's heap shrinks only at its end, so one small block keeps the freed buffers of many connections resident. Owns the
timer and the resident memory at the last check. Does not know what the memory is used for.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from resource import getpagesize
from typing import Protocol

INTERVAL_S = 10.0  # between two checks; memory that is used again within two intervals is kept
GROWTH = 1.1  # resident memory, relative to the smallest so far, above which the heap is examined
SLACK = 4 * 1024 * 1024  # bytes added to that
_LEAST_FREE = 8 * 1024 * 1024  # free bytes of the heap that are worth trimming


class TrimmedHeap(Protocol):
    """Heap that can return free blocks to the kernel."""

    def free_bytes(self) -> int:
        """Return the size of all free blocks in bytes, resident or not."""

    def trim(self) -> None:
        """Return the pages of free blocks to the kernel."""


class MemoryTrim:
    """Timer that checks resident memory and trims the heap after a burst.

    Args:
        loop: event loop that runs the timer.
        heap: returns the heap, once resident memory has grown; None: the C library has none that can be trimmed.
        resident: returns the resident memory in bytes.

    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, heap: Callable[[], TrimmedHeap | None], resident: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._heap = heap
        self._resident = resident
        self._least = resident()
        self._large = False  # whether the heap was large at the last check
        self._timer = loop.call_later(INTERVAL_S, self._next)

    def stop(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def look(self) -> None:
        """Trim the heap if resident memory was above its bound at this check and at the one before."""
        resident = self._resident()
        self._least = min(self._least, resident)
        large = resident > self._least * GROWTH + SLACK
        heap = self._heap() if large and self._large else None
        if heap is not None and heap.free_bytes() > _LEAST_FREE:
            heap.trim()
            self._least = self._resident()
            large = False
        self._large = large

    def _next(self) -> None:
        self.look()
        self._timer = self._loop.call_later(INTERVAL_S, self._next)


def start(loop: asyncio.AbstractEventLoop) -> None:
    """Start a timer that runs until the event loop ends."""
    try:
        resident_bytes()
    except OSError:
        return
    MemoryTrim(loop, _glibc_heap, resident_bytes)


@functools.cache
def _glibc_heap() -> TrimmedHeap | None:
    """Return glibc's heap, or None with another C library. Loads ctypes at the first call."""
    from konnectivity.runtime.glibc_heap import Heap

    try:
        return Heap()
    except AttributeError:
        return None


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process in bytes.

    Raises:
        OSError: /proc is missing.

    """
    with open(statm) as file:
        return int(file.read().split()[1]) * getpagesize()
