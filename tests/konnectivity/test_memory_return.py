"""Return of freed memory: after a burst, not in vain time and again, and with the real C library."""

from __future__ import annotations

import subprocess
import sys

from konnectivity.memory_return import INTERVAL_S, LONGEST_PAUSE_S, MemoryReturn

MIB = 1 << 20


class Process:
    """Resident memory that a test sets, of which a trim returns what is above `needed`."""

    def __init__(self, resident: int, needed: int) -> None:
        self.resident = resident
        self.needed = needed
        self.trims = 0
        self.memory = MemoryReturn(lambda: self.resident, self._trim)

    def _trim(self) -> None:
        self.trims += 1
        self.resident = min(self.resident, self.needed)

    def passes(self, seconds: float) -> int:
        """Let time pass; return the number of trims."""
        before = self.trims
        for _ in range(int(seconds / INTERVAL_S)):
            self.memory.look(INTERVAL_S)
        return self.trims - before


def test_a_program_at_rest_is_left_alone():
    assert Process(30 * MIB, 20 * MIB).passes(3600) == 0


def test_after_a_burst_memory_is_returned_once():
    process = Process(30 * MIB, 30 * MIB)
    process.resident = 90 * MIB
    assert process.passes(60) == 1
    assert process.resident == 30 * MIB


def test_what_is_needed_is_looked_at_ever_more_rarely():
    process = Process(30 * MIB, 300 * MIB)
    process.resident = 300 * MIB
    assert process.passes(600) <= 7
    assert process.passes(3200) <= 3200 / LONGEST_PAUSE_S + 1


def test_after_long_need_a_burst_is_returned_within_a_minute_of_the_first_useful_trim():
    process = Process(30 * MIB, 300 * MIB)
    process.resident = 300 * MIB
    process.passes(3600)
    process.needed = 30 * MIB
    assert process.passes(LONGEST_PAUSE_S) == 1
    assert process.resident == 30 * MIB
    process.resident = 90 * MIB
    assert process.passes(60) == 1


def test_freed_memory_goes_back_to_the_system():
    """Small blocks below one that is still in use, as a burst leaves them."""
    code = """
import ctypes
from konnectivity.memory_return import MemoryReturn, resident_bytes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
memory = MemoryReturn(resident_bytes, lambda: libc.malloc_trim(0))
blocks = [libc.malloc(4096) for _ in range(20_000)]
for block in blocks:
    ctypes.memset(block, 1, 4096)
high = resident_bytes()
for block in blocks[:-1]:
    libc.free(ctypes.c_void_p(block))
kept = resident_bytes()
assert memory.look(60)
print(high >> 20, kept >> 20, resident_bytes() >> 20)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30).stdout
    high, kept, returned = map(int, out.split())
    assert kept > high - 5
    assert returned < high - 70
