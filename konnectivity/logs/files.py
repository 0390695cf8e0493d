"""The places log lines are written to: a stream, or a file that may be renamed and may not grow for ever.

They are slow and they fail; who calls them (`writer`) keeps that from the program.
"""

from __future__ import annotations

import os
from typing import Protocol, TextIO


class Sink(Protocol):
    """Somewhere for text."""

    def write(self, text: str) -> None:
        """Raises OSError, ValueError: the text may be there in part."""

    def close(self) -> None: ...


class Stream:
    """A stream that belongs to others."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        pass


class LogFile:
    """Appends to `path`, and opens it anew when it was renamed or removed (log rotation).

    Before it grows over `max_size` bytes (0: no limit) it is moved to `path.1`, or emptied if it cannot be moved. It is
    made with `mode`; one that is there keeps its own.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, max_size: int = 0, mode: int = 0o644) -> None:
        self._mode = mode
        self._path = path
        self._max_size = max_size
        self._fd = self._open()
        self._torn = False  # the last write ended within a line

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._torn:
            data = b"\n" + data
        self._follow(len(data))
        while data:
            written = os.write(self._fd, data)
            data = data[written:]
            self._torn = bool(data)

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        # Not blocking: to open a named pipe that nobody reads is an error, and no wait for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, self._mode)

    def _follow(self, more: int) -> None:
        """Make the open file the one of that name, with room for so many bytes more."""
        mine = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        same = there is not None and os.path.samestat(there, mine)
        full = same and bool(self._max_size and mine.st_size) and mine.st_size + more > self._max_size
        if full:
            self._make_room()
        if full or not same:
            fd = self._open()
            os.close(self._fd)
            self._fd, self._torn = fd, False

    def _make_room(self) -> None:
        try:
            os.replace(self._path, f"{self._path}.1")
        except OSError:  # a file mounted into a container cannot be moved
            os.truncate(self._path, 0)
