"""Return of freed memory to the system: the C library keeps what is freed below the top of its heap.

Owns the decision when to ask for it. After a burst, of connections or of an attack, most of what was allocated is free,
and would stay resident for good. Only glibc has the call (`malloc_trim`); elsewhere nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage

INTERVAL_S = 10.0  # between two looks at the resident memory
LONGEST_PAUSE_S = 320.0  # between two trims that return next to nothing
GROWN = 1.1  # times the least resident memory so far: above that there may be something to return
SLACK = 2 * 1024 * 1024  # bytes above the least resident memory that are left alone
USEFUL = 0.95  # of the memory before: a trim that leaves more than that was in vain


class MemoryReturn:
    """Decides when a trim is due, and makes it.

    Args:
        resident: returns the resident memory in bytes.
        trim: returns freed memory to the system.
    """

    def __init__(self, resident: Callable[[], int], trim: Callable[[], object]) -> None:
        self._resident = resident
        self._trim = trim
        self._least = resident()
        self._pause_s = INTERVAL_S  # between trims
        self._waited_s = 0.0

    def look(self, passed_s: float) -> bool:
        """Trim if memory has grown and the pause is over. Return whether it was done.

        Args:
            passed_s: seconds since the last look.
        """
        self._waited_s += passed_s
        before = self._resident()
        self._least = min(self._least, before)
        if before <= self._least * GROWN + SLACK:
            self._pause_s = INTERVAL_S
            return False
        if self._waited_s < self._pause_s:
            return False
        self._waited_s = 0.0
        self._trim()
        after = self._resident()
        self._least = min(self._least, after)
        in_vain = after > before * USEFUL
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if in_vain else INTERVAL_S
        return True


async def run() -> None:
    """Look at the memory of this process every `INTERVAL_S` until cancelled. Return if it cannot be trimmed."""
    import ctypes  # 200 KiB, after the start

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return
    memory = MemoryReturn(resident_bytes, lambda: trim(0))
    while True:
        await asyncio.sleep(INTERVAL_S)
        memory.look(INTERVAL_S)


def resident_bytes(statm: str = "/proc/self/statm") -> int:
    """Return the resident memory of this process; where there is no /proc, the most that it has been."""
    try:
        return int(Path(statm).read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024
