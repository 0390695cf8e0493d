"""Writes log lines from a thread of its own, so that a slow or full disk never holds up the program.

A container's stderr is such a disk too: behind the pipe somebody writes a file. Lines that find too many waiting, or
cannot be written, are dropped and counted. Lines that come fast are written in batches, which is cheaper. The thread is
a daemon and holds no lock that the interpreter's exit needs: a program ends although nobody reads its stderr.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from konnectivity.runtime.logs.log_outputs import Sink

MAX_LINES = 5_000  # waiting to be written
MAX_CHARACTERS = 8 * 1024 * 1024  # of lines that are waiting or being written
PAUSE_S = 0.01  # between two batches
FLUSH_TIMEOUT_S = 1.0


class Writer(logging.Handler):
    """Sends each record to the sinks whose level it reaches."""

    def __init__(self, sinks: Sequence[tuple[int, Sink]]) -> None:
        super().__init__()
        self._rejected = 0  # lines that found no place; each counter has one thread that changes it
        self._lost = 0  # lines that some sink did not get
        self._accepted = 0  # characters that found a place
        self._finished = 0  # characters of those that are written, or lost
        self._sinks = sinks
        self._told = [0] * len(sinks)  # how many of both each sink was told of
        self._waiting: deque[tuple[int, str] | threading.Event] = deque()
        self._stuck = False  # the lines did not get written in the time of a flush: it is not waited for again
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that some sink did not get."""
        return self._rejected + self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises, never waits."""
        if self._full:
            self._rejected += 1
            return
        try:
            line = self.format(record) + "\n"
        except Exception:  # a value in it that cannot be shown
            self._rejected += 1
            return
        self.put(record.levelno, line)

    def put(self, level: int, text: str) -> None:
        """Hand `text` to the sinks whose level it reaches, or drop it if too much waits."""
        if self._full:
            self._rejected += 1
            return
        self._accepted += len(text)
        self._waiting.append((level, text))
        self._wake.set()

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= MAX_LINES or self._accepted - self._finished >= MAX_CHARACTERS

    def flush(self) -> None:
        """Wait until the lines so far are written, but not for long."""
        if self._thread.is_alive() and not self._stuck:
            written = threading.Event()
            self._waiting.append(written)
            self._wake.set()
            self._stuck = not written.wait(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if not self._stuck:
            self._thread.join(FLUSH_TIMEOUT_S)
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._write_waiting()
            self._closing.wait(PAUSE_S)
        self._write_waiting()
        for _, sink in self._sinks:
            sink.close()

    def _write_waiting(self) -> None:
        batch: list[tuple[int, str]] = []
        flushed: list[threading.Event] = []
        while self._waiting:
            each = self._waiting.popleft()
            if isinstance(each, threading.Event):
                flushed.append(each)
            else:
                batch.append(each)
        self._stuck = False
        if batch:
            for number in range(len(self._sinks)):
                self._write_to(number, batch)
        self._finished += sum(len(line) for _, line in batch)
        for event in flushed:
            event.set()

    def _write_to(self, number: int, batch: list[tuple[int, str]]) -> None:
        """One sink's part of a batch, and the notice if it is due there: a sink that fails has not been told."""
        level, sink = self._sinks[number]
        lines = [line for severity, line in batch if severity >= level]
        dropped = self.dropped
        notice = [self._notice()] if level <= logging.ERROR and self._notice_due(self._told[number]) else []
        if not lines and not notice:
            return
        try:
            sink.write("".join(lines + notice))
        except (OSError, ValueError):  # ValueError: a closed stream
            self._lost += len(lines)
            return
        if notice:
            self._told[number] = dropped

    def _notice_due(self, told: int) -> bool:
        """Whether the log should say how many lines are dropped, after it spoke of so many."""
        return self.dropped > 2 * told  # once, then when there are twice as many

    def _notice(self) -> str:
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "Log lines were dropped", None, None)
        record.fields = {"total": self.dropped}
        return self.format(record) + "\n"
