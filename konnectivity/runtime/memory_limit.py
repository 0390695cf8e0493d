"""Memory that this process may use: the limit of its cgroups, of version 1 or 2, or else the memory of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

CGROUPS = "/sys/fs/cgroup"
UNKNOWN = 1024 * 1024 * 1024  # bytes assumed where the system tells neither a limit nor its memory

Read = Callable[[str], str]


def _read(path: str) -> str:
    return Path(path).read_text(encoding="ascii", errors="replace")


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
        # A container may see its own group as the root: the root has the limit then, and the path leads nowhere.
        group = PurePosixPath("/", path)
        for each in (group, *group.parents):
            with suppress(OSError, ValueError):  # "max": no limit
                yield int(read(f"{mount}{str(each).rstrip('/')}/{name}"))
