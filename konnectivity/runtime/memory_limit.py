"""Memory that this process may use: the smallest limit of its cgroups (version 1 or 2) and the machine's memory.

Files are read without pathlib, which the programs would load for this alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

CGROUPS = "/sys/fs/cgroup"
UNKNOWN = 1024 * 1024 * 1024  # bytes assumed where the system tells neither a limit nor its memory

Read = Callable[[str], str]


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def usable_memory(read: Read = _read) -> int:
    """Return the number of bytes that this process may use.

    Args:
        read: returns the text of a file, or raises OSError.

    """
    found = [_machine_memory(read), *_cgroup_limits(read)]
    return min((size for size in found if size > 0), default=UNKNOWN)


def _machine_memory(read: Read) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(read("/proc/meminfo").partition("MemTotal:")[2].split()[0]) * 1024
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def _cgroup_limits(read: Read) -> Iterator[int]:
    """Yield the limits of this process's cgroups and of all groups around them."""
    try:
        groups = read("/proc/self/cgroup").splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = (*line.split(":", 2), "", "", "")[:3]
        if controllers == "":
            mount, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = f"{CGROUPS}/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container may see its own group as the root: then the root has the limit, and the path does not exist.
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            with suppress(OSError, ValueError):  # "max": no limit
                yield int(read("/".join((mount, *parts[:depth], name))))
