"""Content of files that people name: whole, bounded in size, and read without waiting for another process.

A path may lead to a directory, a pipe without a writer, or an endless device. A program that serves others reads only
regular files (`read_file`); a tool reads pipes and devices, too (`read_any`). Does not know what a file holds.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIZE = 8 * 1024 * 1024  # bytes


class NoSuchContent(OSError):
    """Path to something that is not read; has a text in place of an error number."""

    def __init__(self, words: str, path: str | Path) -> None:
        super().__init__(words)
        self.strerror = words
        self.filename = str(path)

    def __str__(self) -> str:
        return str(self.strerror)


def read_file(path: str | Path, limit: int = MAX_SIZE) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large; `strerror` has the reason.
        ValueError: the path has a NUL character.

    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise NoSuchContent("is no regular file", path)
        return _read(descriptor, path, limit)
    finally:
        os.close(descriptor)


def read_any(path: str | Path, limit: int = MAX_SIZE) -> bytes:
    """Wait for and return the content of a file, a pipe or a device.

    Raises:
        OSError, ValueError: as `read_file`, except for pipes and devices.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return _read(descriptor, path, limit)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str | Path, limit: int) -> bytes:
    content = bytearray()
    while len(content) <= limit:
        piece = os.read(descriptor, min(limit + 1 - len(content), 1024 * 1024))
        if not piece:
            return bytes(content)
        content += piece
    raise NoSuchContent(f"is larger than {limit} bytes", path)
