"""Writes log lines from a thread of its own, so that a slow or full disk never holds up the program.

A container's stderr is such a disk too: behind the pipe somebody writes a file. Lines that find too many waiting, or
cannot be written, are dropped and counted. Lines that come fast are written in batches, which is cheaper.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from konnectivity.logs.files import Sink

MAX_LINES = 5_000  # waiting to be written
PAUSE_S = 0.01  # between two batches
FLUSH_TIMEOUT_S = 1.0


class Writer(logging.Handler):
    """Sends each record to the sinks whose level it reaches."""

    def __init__(self, sinks: Sequence[tuple[int, Sink]]) -> None:
        super().__init__()
        self._rejected = 0  # lines that found no place; each counter has one thread that changes it
        self._lost = 0  # lines that some sink did not get
        self._sinks = sinks
        self._told = [0] * len(sinks)  # how many of both each sink was told of
        self._waiting: deque[tuple[int, str] | threading.Event] = deque()
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
        if len(self._waiting) >= MAX_LINES:
            self._rejected += 1
            return
        try:
            line = self.format(record) + "\n"
        except Exception:  # a value in it that cannot be shown
            self._rejected += 1
            return
        self._waiting.append((record.levelno, line))
        self._wake.set()

    def flush(self) -> None:
        """Wait until the lines so far are written, but not for long."""
        if self._thread.is_alive():
            written = threading.Event()
            self._waiting.append(written)
            self._wake.set()
            written.wait(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
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
        if batch:
            for number in range(len(self._sinks)):
                self._write_to(number, batch)
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
