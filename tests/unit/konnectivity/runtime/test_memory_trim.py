"""Memory trim: free memory goes back to the kernel after a crowd of connections has ended."""

from __future__ import annotations

import asyncio

from konnectivity.runtime.memory_trim import MemoryTrim

MIB = 1024 * 1024


class Heap:
    """Heap with a number of free bytes, which a trim takes from the process."""

    def __init__(self):
        self.resident, self.free, self.trims = 50 * MIB, 0, 0

    def free_bytes(self):
        return self.free

    def trim(self):
        self.trims += 1
        self.resident -= self.free


async def test_it_is_trimmed_once_and_only_after_two_looks():
    heap = Heap()
    trim = MemoryTrim(asyncio.get_running_loop(), lambda: heap, lambda: heap.resident)
    heap.resident, heap.free = 150 * MIB, 90 * MIB
    trim.look()
    assert heap.trims == 0, "it may be in use"
    trim.look()
    assert heap.trims == 1
    for _ in range(5):
        trim.look()  # glibc still counts the blocks as free
    assert heap.trims == 1
    heap.resident, heap.free = 200 * MIB, MIB
    for _ in range(5):
        trim.look()
    assert heap.trims == 1, "the memory is in use"
    trim.stop()
