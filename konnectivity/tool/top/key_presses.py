"""Single key presses without Enter, from a terminal whose mode is restored afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Self


class Keys:
    """Reader of key presses while a block runs. Without a terminal there are none."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._before: list[int | list[bytes | int]] = []

    def __enter__(self) -> Self:
        if self._descriptor >= 0:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str:
        """Return the key pressed within a time in seconds, or ""."""
        if self._descriptor < 0:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([self._descriptor], [], [], max(seconds, 0))
        if not ready:
            return ""
        typed = os.read(self._descriptor, 1)
        return typed.decode("ascii", "replace") if typed else "q"  # the terminal is closed
