"""Log writer with a thread of its own: the program continues whatever is wrong with the disk."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_outputs import StreamSink
from konnectivity.runtime.logs.log_writer import MAX_LINES, Writer


class Stuck:
    """Disk that accepts nothing until it is released, and then everything."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.writing = threading.Event()
        self.closed = threading.Event()
        self.text = ""
        self.writes = 0

    def write(self, text: str) -> None:
        self.writing.set()
        assert self.free.wait(30)
        self.text += text
        self.writes += 1

    def close(self) -> None:
        self.closed.set()


class Broken:
    """Disk that fails until the test repairs it."""

    def __init__(self, works: bool = False) -> None:
        self.works = works
        self.text = ""

    def write(self, text: str) -> None:
        if not self.works:
            raise OSError("no space left on device")
        self.text += text

    def close(self) -> None:
        pass


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, "m.py", 1, text, None, None)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def write() -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def make(*sinks: tuple[int, object]) -> Writer:
        made.append(Writer(sinks))  # type: ignore[arg-type]
        made[0].setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        return made[0]

    yield make
    for each in made:
        each.close()


# --- the writer ---


def test_lines_come_in_order_and_close_writes_the_rest() -> None:
    stream = io.StringIO()
    writer = Writer([(logging.NOTSET, StreamSink(stream))])
    for n in range(1000):
        writer.emit(record(str(n)))
    writer.close()
    assert stream.getvalue().split() == [str(n) for n in range(1000)]
    assert writer.dropped == 0


def test_a_stuck_disk_holds_up_nobody_and_the_count_of_lines_has_an_end(write: Callable[..., Writer]) -> None:
    disk = Stuck()
    writer = write((logging.NOTSET, disk))
    writer.emit(record("first"))
    assert disk.writing.wait(5)
    before = time.monotonic()
    for _ in range(MAX_LINES + 500):
        writer.emit(record("x" * 100))
    assert time.monotonic() - before < 2
    assert writer.dropped == 500
    disk.free.set()
    writer.flush()
    assert disk.text.count("x" * 100) == MAX_LINES
    assert disk.writes < 10
    assert "ERROR Log lines were dropped" in disk.text


def test_the_end_does_not_wait_for_a_stuck_disk() -> None:
    disk = Stuck()
    writer = Writer([(logging.NOTSET, disk)], flush_timeout_s=0.01)
    writer.emit(record("x"))
    writer.flush()
    writer.close()
    assert disk.text == ""
    disk.free.set()
    assert disk.closed.wait(5)


def test_lost_lines_are_counted_and_spoken_of_less_and_less(write: Callable[..., Writer]) -> None:
    good, bad = Broken(works=True), Broken()
    writer = write((logging.ERROR, good), (logging.NOTSET, bad))
    for _ in range(40):
        writer.emit(record("lost"))
        writer.flush()
    assert writer.dropped >= 40
    assert 2 <= good.text.count("Log lines were dropped") <= 8
    assert "lost" not in good.text.replace("Log lines", "")
    bad.works = True
    writer.emit(record("kept"))
    writer.flush()
    assert "kept" in bad.text
    assert "Log lines were dropped" in bad.text, "the disk has room again, and is not told what it missed"


def test_each_sink_has_its_level(write: Callable[..., Writer]) -> None:
    errors, everything = Broken(works=True), Broken(works=True)
    writer = write((logging.ERROR, errors), (logging.NOTSET, everything))
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        writer.emit(record("x", level))
    writer.flush()
    assert errors.text == "ERROR x\n"
    assert everything.text == "INFO x\nWARNING x\nERROR x\n"


def test_a_closed_stream_is_no_reason_to_fail(write: Callable[..., Writer]) -> None:
    stream = io.StringIO()
    writer = write((logging.NOTSET, StreamSink(stream)))
    stream.close()
    writer.emit(record("x"))
    writer.flush()
    assert writer.dropped == 1


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("layout", [logs.KlogFormatter(), logs.JsonFormatter()])
def test_a_value_that_cannot_be_shown_costs_its_line_only(
    write: Callable[..., Writer], layout: logging.Formatter
) -> None:
    disk = Broken(works=True)
    writer = write((logging.NOTSET, disk))
    writer.setFormatter(layout)
    bad = record("bad")
    bad.fields = {"value": Unspeakable()}
    for each in (bad, record("good")):
        writer.emit(each)
    writer.flush()
    assert writer.dropped == 1
    assert "good" in disk.text


# --- the file ---


# --- a program ---


def test_lines_that_wait_are_limited_in_length(write: Callable[..., Writer]) -> None:
    disk = Stuck()
    writer = write((logging.NOTSET, disk))
    for _ in range(2_000):
        writer.emit(record("x" * 16_000))
    assert writer.dropped >= 1_400
    disk.free.set()
    writer.flush()
    writer.emit(record("again"))
    writer.flush()
    assert "again" in disk.text


# --- rotation: files that are not ours stay unchanged ---
