"""Two log formats, the verbosity, and the caller's file and line in each log line."""

from __future__ import annotations

import inspect
import io
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from konnectivity.runtime import logs

log = logs.get("test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore the root logger after the test, without our handlers."""
    root = logging.getLogger()
    level = root.level
    yield
    logs.configure(0, io.StringIO())
    for handler in [each for each in root.handlers if each.name == "konnectivity"]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def text() -> Callable[[], str]:
    stream = io.StringIO()
    logs.configure(4, stream)
    return stream.getvalue


def after_bracket(line: str) -> str:
    return line.split("] ", 1)[1]


def line_number() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_each_method_shows_its_caller(text: Callable[[], str]) -> None:
    log.info("x")
    log.warning("x")
    log.error("x")
    log.exception("x")
    first = line_number() - 4
    assert re.findall(r"test_logs\.py:(\d+)\]", text()) == [str(first + i) for i in range(4)]


def test_verbosity(text: Callable[[], str]) -> None:
    assert [log.v(level) for level in (0, 4, 5)] == [True, True, False]
    logs.configure(5, io.StringIO())
    assert log.v(5)


def test_configure_again_replaces_the_stream(text: Callable[[], str]) -> None:
    second = io.StringIO()
    logs.configure(4, second)
    log.info("x")
    assert text() == ""
    assert second.getvalue().count("\n") == 1


def test_default_stream_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(4)
    log.info("hello")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith('] "hello"\n')


def test_records_of_other_libraries(text: Callable[[], str]) -> None:
    other = logging.getLogger("other.library")
    other.debug("not shown")
    other.warning("seen %d", 3)
    other.critical("end")
    lines = text().splitlines()
    assert [(line[0], after_bracket(line)) for line in lines] == [("W", "seen 3"), ("F", "end")]


# --- where it goes ---
