"""inotify of Linux: the kernel's events about the entries of directories.

Owns one descriptor. Does not know why a directory is watched. A module of its own: a server of one cluster loads
neither this module nor ctypes.
"""

from __future__ import annotations

import ctypes
import enum
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_ONLYDIR = 0x01000000
_ENTRIES = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
_HEAD = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, bytes of the name
_READ = 64 * 1024  # bytes of one read
_READS = 64  # reads of one look: more than the kernel's queue holds


class Happening(enum.Enum):
    """Kind of an event."""

    ENTRY = "an entry of the directory was added, removed, written, replaced or has other rights"
    GONE = "the directory itself was removed, moved or unmounted"
    LOST = "the kernel's queue was full: events of any directory are lost"


class DirectoryEvent(NamedTuple):
    """Event about a directory.

    Attributes:
        watch: number of the watch on the directory; -1 for LOST.
        name: name of the entry; empty unless an entry is meant.
        happening: kind of the event.

    """

    watch: int
    name: str
    happening: Happening


class Inotify:
    """Instance of inotify in the kernel, until `close` or the end of this object: a user may have few of them.

    Raises:
        OSError: the kernel or the user's limit allows none.
        AttributeError: the C library has no inotify.

    """

    _descriptor = -1  # none is open

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._add = library.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove = library.inotify_rm_watch
        self._descriptor = _checked(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __del__(self) -> None:
        self.close()

    def add(self, directory: str) -> int:
        """Watch a directory, and return the number of the watch: the same one for each path of one directory.

        Raises:
            OSError: the directory cannot be watched, or the user has as many watches as the kernel allows.

        """
        return _checked(self._add(self._descriptor, os.fsencode(directory), _ENTRIES | _GONE | _ONLYDIR))

    def remove(self, watch: int) -> None:
        """End a watch, which may have ended already."""
        self._remove(self._descriptor, watch)

    def events(self) -> Iterator[DirectoryEvent]:
        """Yield the events since the last look, without waiting."""
        for _ in range(_READS):
            try:
                content = os.read(self._descriptor, _READ)
            except BlockingIOError:
                return
            yield from parse(content)

    def close(self) -> None:
        """End all watches."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def parse(content: bytes) -> Iterator[DirectoryEvent]:
    """Yield the events that one read from the kernel returned."""
    at = 0
    while at < len(content):
        watch, mask, _, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size + size
        if mask & _OVERFLOW:
            yield DirectoryEvent(-1, "", Happening.LOST)
        elif mask & _GONE:
            yield DirectoryEvent(watch, "", Happening.GONE)
        else:
            yield DirectoryEvent(watch, os.fsdecode(content[at - size : at].rstrip(b"\0")), Happening.ENTRY)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
