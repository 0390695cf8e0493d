"""Writer of log lines in a thread of its own, so that a slow or full disk never delays the program.

Owns the queue of lines and the counts of dropped ones: a line is dropped if the queue is full or the write fails. Lines
in quick succession are written in batches. The thread is a daemon and holds no lock that the interpreter's exit needs,
so a program ends even if nobody reads its stderr. Does not know what a line says.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from konnectivity.runtime.logs.log_outputs import Sink

MAX_LINES = 5_000  # waiting to be written
MAX_CHARACTERS = 8 * 1024 * 1024  # characters of lines that are waiting or being written
PAUSE_S = 0.01  # between two batches
FLUSH_TIMEOUT_S = 1.0


class Writer(logging.Handler):
    """Logging handler that queues each record for the sinks whose level it reaches.

    Args:
        sinks: (level, sink) of each output.
        flush_timeout_s: maximum seconds that `flush` and `close` wait.

    """

    def __init__(self, sinks: Sequence[tuple[int, Sink]], flush_timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        super().__init__()
        self._rejected = 0  # lines that found the queue full; each counter is changed by one thread
        self._lost = 0  # lines that a sink failed to write
        self._accepted = 0  # characters that were queued
        self._finished = 0  # characters that were written or lost since
        self._sinks = sinks
        self._flush_timeout_s = flush_timeout_s
        self._announced = [0] * len(sinks)  # dropped lines that the last notice in each sink counted
        self._waiting: deque[tuple[int, str] | threading.Event] = deque()
        self._stuck = False  # the last flush timed out, so the next one does not wait
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of lines that were not queued, or that a sink failed to write."""
        return self._rejected + self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue a record, or count it as dropped. Never raises, never waits."""
        if self._full:
            self._rejected += 1
            return
        try:
            line = self.format(record) + "\n"
        except Exception:  # a value that cannot be formatted
            self._rejected += 1
            return
        self.put(record.levelno, line)

    def put(self, level: int, text: str) -> None:
        """Queue `text` for the sinks whose level it reaches, or drop it if the queue is full."""
        if self._full:
            self._rejected += 1
            return
        self._accepted += len(text)
        self._waiting.append((level, text))
        if not self._wake.is_set():  # if it is, the thread looks for lines after this one was queued
            self._wake.set()

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= MAX_LINES or self._accepted - self._finished >= MAX_CHARACTERS

    def flush(self) -> None:
        """Wait for at most a second until all queued lines are written."""
        if self._thread.is_alive() and not self._stuck:
            written = threading.Event()
            self._waiting.append(written)
            self._wake.set()
            self._stuck = not written.wait(self._flush_timeout_s)

    def close(self) -> None:
        """Write all queued lines and close the sinks, within a second."""
        self._closing.set()
        self._wake.set()
        if not self._stuck:
            self._thread.join(self._flush_timeout_s)
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
        """Write a sink's part of a batch, and the notice of dropped lines if it is due in that sink."""
        level, sink = self._sinks[number]
        lines = [line for severity, line in batch if severity >= level]
        dropped = self.dropped
        notice = [self._notice()] if level <= logging.ERROR and self._notice_due(self._announced[number]) else []
        if not lines and not notice:
            return
        try:
            sink.write("".join(lines + notice))
        except (OSError, ValueError):  # ValueError: a closed stream
            self._lost += len(lines)
            return
        if notice:
            self._announced[number] = dropped

    def _notice_due(self, announced: int) -> bool:
        """Return whether another notice is due: at the first dropped line, then each time the number has doubled."""
        return self.dropped > 2 * announced

    def _notice(self) -> str:
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "Log lines were dropped", None, None)
        record.fields = {"total": self.dropped}
        return self.format(record) + "\n"
