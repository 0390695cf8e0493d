"""Standard error of a program, for texts that are not log lines: tracebacks, warnings, start errors.

Owns the thread that writes them, so that a program whose stderr nobody reads neither stops nor hangs at its end.
"""

from __future__ import annotations

import atexit
import io
import logging
import sys

from konnectivity.runtime.logs.log_outputs import Descriptor
from konnectivity.runtime.logs.log_writer import Writer
from konnectivity.untrusted.untrusted_text import printable

MAX_TEXT = 64 * 1024  # characters of one write


class ErrorStream(io.TextIOBase):
    """Text stream whose writes never wait. `flush` waits for at most a second until the text is written."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._writer: Writer | None = None

    def write(self, text: str) -> int:
        if self._writer is None:
            try:
                self._writer = Writer([(logging.NOTSET, Descriptor(self._fd))])
            except (OSError, RuntimeError):  # no descriptor left, or the interpreter is ending
                return len(text)
            atexit.register(self.flush)
        self._writer.put(logging.CRITICAL, printable(text[:MAX_TEXT]))
        return len(text)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True


def install() -> None:
    """Replace `sys.stderr`, if it has a descriptor, by a stream whose writes never wait."""
    try:
        fd = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # no stderr, or one without a descriptor
        return
    sys.stderr = ErrorStream(fd)
