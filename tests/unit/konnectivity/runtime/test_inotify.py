"""Tests of the events that the kernel's bytes stand for."""

from __future__ import annotations

import struct

from konnectivity.runtime.inotify import DirectoryEvent, Happening, parse


def written(watch: int, mask: int, name: bytes = b"") -> bytes:
    return struct.pack("iIII", watch, mask, 0, len(name)) + name


def test_events_of_entries_of_the_directory_itself_and_of_a_full_queue_are_told_apart() -> None:
    content = written(1, 0x8, b"ca.crt\0\0\0\0\0\0\0\0\0\0") + written(2, 0x400) + written(-1, 0x4000) + written(3, 0x4)
    assert list(parse(content)) == [
        DirectoryEvent(1, "ca.crt", Happening.ENTRY),
        DirectoryEvent(2, "", Happening.GONE),
        DirectoryEvent(-1, "", Happening.LOST),
        DirectoryEvent(3, "", Happening.ENTRY),
    ]
