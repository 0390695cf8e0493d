"""Lifecycle of our programs: start, settings of the process, and end."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_ROUNDS = """
import resource
from konnectivity.runtime.lifecycle import reuse_memory

if {reuse}:
    reuse_memory()
for _ in range({rounds}):
    waiting = [b"x" * 100_000 for _ in range(10)]
    del waiting
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _new_pages(reuse: bool) -> float:
    """Return the number of pages that the kernel provides for a megabyte of buffers that are made and dropped."""
    few, many = 10, 210
    faults = []
    for rounds in (few, many):
        program = _ROUNDS.format(reuse=reuse, rounds=rounds)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        faults.append(int(done.stdout))
    return (faults[1] - faults[0]) / (many - few)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, whose malloc this is about")
def test_buffers_come_from_memory_that_the_process_has() -> None:
    assert _new_pages(reuse=False) > 100, "this machine's malloc keeps it by itself"
    assert _new_pages(reuse=True) < 10
