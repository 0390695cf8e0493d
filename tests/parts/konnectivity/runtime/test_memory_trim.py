"""Free heap blocks of a process, given back to the kernel."""

from __future__ import annotations

import subprocess
import sys

MIB = 1024 * 1024


# Blocks of 64 KiB from malloc, each followed by a small one that stays allocated.
PROGRAM = """
import ctypes, time
from konnectivity.runtime.glibc_heap import Heap
from konnectivity.runtime.memory_trim import resident_bytes
heap = Heap()
malloc, free, memset = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free, ctypes.CDLL(None).memset
malloc.restype = ctypes.c_void_p
before = resident_bytes()
blocks = [(malloc(65536), malloc(64)) for _ in range(1600)]
for large, small in blocks:
    memset(ctypes.c_void_p(large), 1, 65536)
for large, small in blocks:
    free(ctypes.c_void_p(large))
used, free_bytes = resident_bytes(), heap.free_bytes()
began = time.thread_time()
heap.trim()
print(before, used, resident_bytes(), free_bytes, time.thread_time() - began)
"""


def test_free_blocks_between_used_ones_go_back():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    before, used, after, free_bytes = map(int, run.stdout.split()[:4])
    assert used - before > 90 * MIB
    assert free_bytes > 90 * MIB
    assert after - before < 15 * MIB
    assert float(run.stdout.split()[4]) < 0.1
