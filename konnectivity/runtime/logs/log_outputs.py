"""The places log lines are written to: a stream, or a file that may be renamed and may not grow for ever.

They are slow and they fail; who calls them (`writer`) keeps that from the program.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import suppress
from typing import Protocol, TextIO

_PROC = "/proc/"  # its links lead to open files of processes, whatever name these have


class Sink(Protocol):
    """Somewhere for text."""

    def write(self, text: str) -> None:
        """Raises OSError, ValueError: the text may be there in part."""

    def close(self) -> None: ...


class Descriptor:
    """Own copy of an open file, such as stderr. It shares no lock and no buffer with the interpreter's streams.

    A write to a pipe that nobody reads waits for ever, and holds nothing but the thread that writes.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # others that share the pipe or terminal made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def close(self) -> None:
        os.close(self._fd)


class StreamSink:
    """A stream that belongs to others, and that may have no file behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        pass


def sink_of(stream: TextIO) -> Sink:
    """Return the sink for a stream: its file if there is one, so that no lock of the stream is ever held."""
    try:
        return Descriptor(stream.fileno())
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return StreamSink(stream)


class LogFile:
    """Appends to `path`, and opens it anew when it was renamed or removed (log rotation).

    Before it grows over `max_size` bytes (0: no limit) it is moved to its name with `.1`, or emptied if it cannot be
    moved. That is done with regular files only, by their own name: a link that leads to one stays where it is. Devices,
    pipes, and what is reached through /proc (as /dev/stdout is) are written to and left alone. A file is made with
    `mode`; one that is there keeps its own.

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
        own_name = _own_name(self._path) if full and stat.S_ISREG(mine.st_mode) else None
        if own_name is not None:
            self._make_room(own_name)
        if own_name is not None or not same:
            fd = self._open()
            os.close(self._fd)
            self._fd, self._torn = fd, False

    def _make_room(self, own_name: str) -> None:
        before = f"{own_name}.1"
        try:
            if os.path.lexists(before) and not stat.S_ISREG(os.lstat(before).st_mode):
                raise FileExistsError(f"{before} is no regular file")
            os.replace(own_name, before)
        except OSError:  # a file mounted into a container cannot be moved
            os.ftruncate(self._fd, 0)


def _own_name(path: str) -> str | None:
    """Return the name of the file that `path` leads to, without links; None if a link of /proc is on the way."""
    with suppress(OSError):  # links that change meanwhile, or lead in a circle
        for _ in range(40):
            path = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
            if path.startswith(_PROC):
                return None
            if not os.path.islink(path):
                return path
            path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None
