"""Return of free memory to the kernel, some time after it was used. On glibc; elsewhere it does nothing.

The buffers of a crowd of connections lie in glibc's heap, which shrinks at its end only: one small block behind them
kept the memory of all after they were gone. Owns the timer and what resident memory was at the last look. Does not know
what the memory is used for.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize

INTERVAL_S = 10.0  # between two looks; memory that is used again within two of them is kept
GROWTH = 1.1  # resident memory, relative to the least so far, that is worth a look at the heap
SLACK = 4 * 1024 * 1024  # bytes beyond that
_LEAST_FREE = 8 * 1024 * 1024  # bytes of the heap that are free


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
        """Return the size of all free blocks, whether the kernel has their pages or not."""
        return int(self._info().fordblks)

    def trim(self) -> None:
        """Give the pages of free blocks back; takes about 1 ms for 10 MiB."""
        self._trim(ctypes.c_size_t(0))


class MemoryTrim:
    """Timer that looks at resident memory and trims the heap after a burst.

    Args:
        loop: of the program.
        heap: to look at.
        resident: returns the resident memory in bytes.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, heap: Heap, resident: Callable[[], int]) -> None:
        self._loop = loop
        self._heap = heap
        self._resident = resident
        self._least = resident()
        self._large = False  # at the last look
        self._timer = loop.call_later(INTERVAL_S, self._next)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def look(self) -> None:
        """Trim the heap if the process was larger than before at this look and at the last one."""
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
    """Begin to look, for as long as the event loop runs."""
    try:
        heap = Heap()
        resident_bytes()
    except (AttributeError, OSError):
        return
    MemoryTrim(loop, heap, resident_bytes)


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process.

    Raises:
        OSError: there is no /proc.

    """
    return int(Path(statm).read_text().split()[1]) * getpagesize()
