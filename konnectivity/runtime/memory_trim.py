"""Return of free memory to the kernel after a burst, with glibc; without effect on other C libraries.

glibc's heap shrinks only at its end, so one small block keeps the freed buffers of many connections resident. Owns the
timer and the resident memory at the last check. Does not know what the memory is used for.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize

INTERVAL_S = 10.0  # between two checks; memory that is used again within two intervals is kept
GROWTH = 1.1  # resident memory, relative to the smallest so far, above which the heap is examined
SLACK = 4 * 1024 * 1024  # bytes added to that
_LEAST_FREE = 8 * 1024 * 1024  # free bytes of the heap that are worth trimming


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


class Heap:
    """glibc's heap of this process.

    Raises:
        AttributeError: the C library is not glibc, or older than 2.33.

    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info, self._trim = library.mallinfo2, library.malloc_trim
        self._info.restype = _Mallinfo

    def free_bytes(self) -> int:
        """Return the size of all free blocks in bytes, resident or not."""
        return int(self._info().fordblks)

    def trim(self) -> None:
        """Return the pages of free blocks to the kernel; takes about 1 ms for 10 MiB."""
        self._trim(ctypes.c_size_t(0))


class MemoryTrim:
    """Timer that checks resident memory and trims the heap after a burst.

    Args:
        loop: event loop that runs the timer.
        heap: the heap to trim.
        resident: returns the resident memory in bytes.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, heap: Heap, resident: Callable[[], int]) -> None:
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
        if large and self._large and self._heap.free_bytes() > _LEAST_FREE:
            self._heap.trim()
            self._least = self._resident()
            large = False
        self._large = large

    def _next(self) -> None:
        self.look()
        self._timer = self._loop.call_later(INTERVAL_S, self._next)


def start(loop: asyncio.AbstractEventLoop) -> None:
    """Start a timer that runs until the event loop ends."""
    try:
        heap = Heap()
        resident_bytes()
    except (AttributeError, OSError):
        return
    MemoryTrim(loop, heap, resident_bytes)


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process in bytes.

    Raises:
        OSError: /proc is missing.

    """
    return int(Path(statm).read_text().split()[1]) * getpagesize()
