"""The log file: written by a thread of its own, so that a slow or full disk never holds up the program.

The file may be renamed while it is written (log rotation): it is opened anew. Lines that find the queue full, or
cannot be written, are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import BinaryIO

QUEUE_LINES = 10_000
CLOSE_TIMEOUT_S = 2.0  # for what is still to be written at the end


class FileHandler(logging.Handler):
    """Appends to `path`. At `max_size` bytes (0: never) the file is moved to `path.1`, or emptied if it cannot be."""

    def __init__(self, path: str, max_size: int = 0) -> None:
        super().__init__()
        self.dropped = 0
        self._path = path
        self._max_size = max_size
        self._lines: queue.Queue[bytes | None] = queue.Queue(QUEUE_LINES)
        self._file: BinaryIO | None = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by the thread
        self._thread = threading.Thread(target=self._write_all, name="log file", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_S)
        super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._reopen()
                if self._file is None or self._file.write(line) != len(line):
                    self.dropped += 1
            except OSError:
                self.dropped += 1
        if self._file is not None:
            self._file.close()

    def _reopen(self) -> None:
        """Follow the name: after a rename, and when the file is full."""
        if self._file is not None:
            mine = os.fstat(self._file.fileno())
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                there = None
            same = there is not None and (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)
            if same and not (self._max_size and mine.st_size >= self._max_size):
                return
            if same:
                self._make_room()
            self._file.close()
            self._file = None
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - kept open

    def _make_room(self) -> None:
        try:
            os.replace(self._path, f"{self._path}.1")
        except OSError:  # a file mounted into a container cannot be moved
            os.truncate(self._path, 0)
