"""Outputs of the log: a stream, or a file with rotation by name and a maximum size.

Owns the open descriptors. Writes block and fail; `log_writer` keeps that from the program.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import suppress
from typing import Protocol, TextIO

_PROC = "/proc/"  # symbolic links in this folder lead to open files of processes


class Sink(Protocol):
    """Output of text."""

    def write(self, text: str) -> None:
        """Write `text`.

        Raises:
            OSError, ValueError: the write failed; a part of the text may be written.

        """

    def close(self) -> None: ...


class Descriptor:
    """Duplicate of an open descriptor, such as stderr, without the locks and buffers of the interpreter's streams.

    A write to a pipe without a reader blocks the writing thread and nothing else.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process that shares the pipe or terminal made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def close(self) -> None:
        os.close(self._fd)


class StreamSink:
    """Stream that is not closed here, and that may have no descriptor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def close(self) -> None:
        pass


def sink_of(stream: TextIO) -> Sink:
    """Return the sink for a stream: its descriptor if it has one, so that no lock of the stream is held."""
    try:
        return Descriptor(stream.fileno())
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return StreamSink(stream)


class LogFile:
    """Log file that is appended to, and opened again after it was renamed or removed (log rotation).

    A file that would grow over `max_size` is renamed to end with `.1`, or emptied if it cannot be renamed. Only regular
    files are renamed, by their own name, so that a link to one stays. Devices, pipes, and files reached through /proc
    (as /dev/stdout is) are only written to.

    Args:
        path: name of the file.
        max_size: bytes; 0: unlimited.
        mode: permissions of a new file; an existing file keeps its own.

    Raises:
        OSError: the file cannot be opened.

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
        # Not blocking, so that opening a named pipe without a reader is an error instead of a wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, self._mode)

    def _follow(self, more: int) -> None:
        """Open the file again if its name leads elsewhere, and make room for `more` bytes."""
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
    with suppress(OSError):  # links that change meanwhile, or form a circle
        for _ in range(40):
            path = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
            if path.startswith(_PROC):
                return None
            if not os.path.islink(path):
                return path
            path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None
