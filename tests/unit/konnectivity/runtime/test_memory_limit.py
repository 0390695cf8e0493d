"""Tests of the memory that a process may use, from the limits of cgroups of both versions and the machine's memory."""

from __future__ import annotations

import os

import pytest

from konnectivity.runtime.memory_limit import usable_memory
from konnectivity.tunnel.memory_budget import MIB, process_share, tunnel_share

MEMINFO = "MemTotal:       24684304 kB\nMemFree:        21500 kB\n"
MACHINE = 24684304 * 1024
UNLIMITED = "9223372036854771712\n"  # text of a cgroup of version 1 without a limit


def usable(**files: str) -> int:
    """Return the usable memory of a machine with these files, whose names have `__` for `/` and `_dot_` for `.`."""
    paths = {"/" + name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()}

    def read(path: str) -> str:
        try:
            return paths[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    return usable_memory(read)


def test_a_process_without_a_limit_may_use_the_memory_of_the_machine():
    assert usable(proc__meminfo=MEMINFO) == MACHINE
    assert (
        usable(proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n", sys__fs__cgroup__memory_dot_max="max\n") == MACHINE
    )


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_sees_its_own_group_as_the_root(version):
    """In a container /proc/self/cgroup has the path on the host, which does not exist in the container."""
    limit = str(30 * MIB) + "\n"
    if version == 2:
        found = usable(proc__meminfo=MEMINFO, proc__self__cgroup="0::/pod/x\n", sys__fs__cgroup__memory_dot_max=limit)
    else:
        found = usable(
            proc__meminfo=MEMINFO,
            proc__self__cgroup="5:cpu,cpuacct:/pod/x\n4:memory:/pod/x\n0::/\n",
            sys__fs__cgroup__memory__memory_dot_limit_in_bytes=limit,
        )
    assert found == 30 * MIB


@pytest.mark.parametrize(("inner", "outer"), [("max", "41943040"), ("41943040", "max"), ("52428800", "41943040")])
def test_the_smallest_limit_of_all_groups_around_the_process_counts(inner, outer):
    assert (
        usable(
            proc__meminfo=MEMINFO,
            proc__self__cgroup="0::/kubepods/pod1\n",
            sys__fs__cgroup__kubepods__pod1__memory_dot_max=inner + "\n",
            sys__fs__cgroup__kubepods__memory_dot_max=outer + "\n",
        )
        == 40 * MIB
    )


def test_a_limit_above_the_memory_of_the_machine_has_no_effect():
    found = usable(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="4:memory:/a\n",
        sys__fs__cgroup__memory__a__memory_dot_limit_in_bytes=UNLIMITED,
    )
    assert found == MACHINE


@pytest.mark.parametrize("text", ["", "\n", "nonsense", ":", "4:memory", "0::no/slash\n"])
def test_files_that_cannot_be_read_mean_no_limit(text):
    assert usable(proc__meminfo=MEMINFO, proc__self__cgroup=text) == MACHINE


def test_a_machine_without_these_files_has_the_memory_that_its_kernel_counts():
    assert usable() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("memory", "processes", "process", "tunnel"),
    [
        (16 * MIB, 1, 2 * MIB, 2 * MIB),
        (30 * MIB, 1, 3 * MIB, 3 * MIB),  # published manifests of agents
        (40 * MIB, 1, 8 * MIB, 8 * MIB),
        (64 * MIB, 1, 16 * MIB, 8 * MIB),
        (512 * MIB, 1, 128 * MIB, 32 * MIB),
        (1024 * MIB, 1, 256 * MIB, 64 * MIB),
        (24 * 1024 * MIB, 1, 256 * MIB, 64 * MIB),
        (1024 * MIB, 4, 64 * MIB, 16 * MIB),  # workers share the limit
    ],
)
def test_budgets_follow_the_memory(memory, processes, process, tunnel):
    assert process_share(memory, processes) == process
    assert tunnel_share(process) == tunnel
