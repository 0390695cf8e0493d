"""Errors in the log: texts for a person, no numbers or names of classes."""

from __future__ import annotations

import errno
import inspect
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import uvloop  # noqa: F401  # whose modules are extensions
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_formats import JsonFormatter, KlogFormatter


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "no such file or directory"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 113] x"), "connection refused"),
        (TimeoutError(), "i/o timeout"),
        (ConnectionResetError(), "connection reset by peer"),
        (ValueError("a.test: missing port"), "a.test: missing port"),
    ],
)
def test_an_error_is_told_in_words(error, words, format_):
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "Failed", None, None)
    record.fields = {"reason": error}
    line = {"text": KlogFormatter, "json": JsonFormatter}[format_]().format(record)
    assert f'"{words}"' in line
    assert "Errno" not in line


log = logs.get("test")


class Place(NamedTuple):
    """Value with fields that has a text of its own."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


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


@pytest.fixture
def parsed() -> Callable[[], dict[str, object]]:
    stream = io.StringIO()
    logs.configure(4, stream, logs.LogDestination(json=True))

    def read() -> dict[str, object]:
        (line,) = stream.getvalue().splitlines()
        result: dict[str, object] = json.loads(line)
        return result

    return read


def after_bracket(line: str) -> str:
    return line.split("] ", 1)[1]


def line_number() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_klog_line(text: Callable[[], str]) -> None:
    before = time.strftime("%m%d %H:%M")
    log.info("agent connected", agent="a-1", streams=2)
    here = line_number() - 1
    match = re.fullmatch(
        r"I(\d{4} \d\d:\d\d):\d\d\.\d{6} ([ \d]{7}) test_log_formats\.py:(\d+)\] (.*)\n", text(), re.ASCII | re.DOTALL
    )
    assert match
    assert match[1] in (before, time.strftime("%m%d %H:%M"))
    assert match[2] == f"{os.getpid():7}"
    assert int(match[3]) == here
    assert match[4] == '"agent connected" agent="a-1" streams=2'


def test_time_is_local_and_exact(text: Callable[[], str]) -> None:
    record = logging.LogRecord("x", logging.INFO, "/src/module.py", 42, "hello", None, None)
    record.created = time.mktime((2026, 11, 23, 9, 46, 53, 0, 0, -1)) + 0.015625
    record.process = 12345
    assert logs.KlogFormatter().format(record) == "I1123 09:46:53.015625   12345 module.py:42] hello"


@pytest.mark.parametrize(
    ("write", "letter"),
    [(log.info, "I"), (log.warning, "W"), (log.error, "E")],
)
def test_severity(text: Callable[[], str], write: Callable[[str], None], letter: str) -> None:
    write("x")
    assert text()[0] == letter


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\tc\r\x1b[0m", r'"a\nb\tc\r\x1b[0m"'),
        ("ü\x85\u2028", '"ü\\u0085\\u2028"'),
        ("\udc80", r'"\udc80"'),
        ("\U000e0001", r'"\U000e0001"'),
        (7, "7"),
        (0.5, "0.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (("a", 1), '["a",1]'),
        (Place("a", 1), '"a:1"'),
        (["a\u202e", {"b": None}], r'["a\u202e",{"b":null}]'),
        ({"a"}, "\"{'a'}\""),
        (float("nan"), "NaN"),
        (ValueError("bad port"), '"bad port"'),
        (TimeoutError(), '"i/o timeout"'),
    ],
)
def test_values_of_fields(text: Callable[[], str], value: object, shown: str) -> None:
    log.info("x", key=value)
    assert after_bracket(text()) == f'"x" key={shown}\n'


def test_fields_may_have_any_name(text: Callable[[], str]) -> None:
    log.info("x", message="m", name="n", self=1)
    assert after_bracket(text()) == '"x" message="m" name="n" self=1\n'


def test_percent_signs_are_text(text: Callable[[], str]) -> None:
    log.info("100% %s")
    assert after_bracket(text()) == '"100% %s"\n'


@given(st.text(), st.text())
def test_a_record_is_one_line(message: str, value: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "m.py", 1, message, None, None)
    record.fields = {"key": value}
    for formatter in (logs.KlogFormatter(), logs.JsonFormatter()):
        assert len(formatter.format(record).splitlines()) == 1


def test_exception_keeps_the_traceback_on_the_line(text: Callable[[], str]) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("this is a bug", part="relay")
    assert text().count("\n") == 1
    assert after_bracket(text()).startswith('"this is a bug" part="relay" trace="Traceback (most recent call last):\\n')
    assert text().endswith('ValueError: boom"\n')


def test_json_line(parsed: Callable[[], dict[str, object]]) -> None:
    log.warning("two\nlines", agent="a-1", streams=2, err=TimeoutError(), odd={1})
    here = line_number() - 1
    result = parsed()
    assert abs(time.time() - float(str(result.pop("ts")))) < 60
    assert result == {
        "level": "warning",
        "caller": f"test_log_formats.py:{here}",
        "msg": "two\nlines",
        "agent": "a-1",
        "streams": 2,
        "err": "i/o timeout",
        "odd": "{1}",
    }


def test_the_caller_in_a_compiled_module_is_its_file_and_no_line(text: Callable[[], str]) -> None:
    logs.get("uvloop.loop").info("x")  # a module that is an extension in every build of this project
    logs.get_peer_log("uvloop.loop").info("10.0.0.1", "y")
    assert re.findall(r"\S+(?=\] )", text()) == ["loop.py:0", "loop.py:0"]
    logs.configure(4, directory := io.StringIO(), logs.LogDestination(directory=True))
    logs.get("uvloop.loop").info("x")
    assert "uvloop/loop.py:0]" in directory.getvalue()
    logs.configure(4, json_lines := io.StringIO(), logs.LogDestination(json=True))
    logs.get("uvloop.loop").info("x")
    assert json.loads(json_lines.getvalue())["caller"] == "loop.py:0"


@pytest.mark.parametrize("formatter", [logs.KlogFormatter(), logs.JsonFormatter()])
@pytest.mark.parametrize(
    "value",
    ["x" * 5_000_000, "\x01" * 5_000_000, "\U000e0001" * 5_000_000, ["y" * 1_000] * 5_000, {"z": "\n" * 100_000}],
)
def test_values_and_lines_have_a_maximum_length(formatter: logging.Formatter, value: object) -> None:
    record = logging.LogRecord("x", logging.INFO, "m.py", 1, "m", None, None)
    record.fields = {"first": "kept", "long": value, "last": "kept"}
    began = time.process_time()
    line = formatter.format(record)
    assert time.process_time() - began < 1
    assert len(line) <= 14 * 1024
    assert line.count("kept") == 2
    record.fields = {f"field{number}": value for number in range(1_000)}
    line = formatter.format(record)
    assert len(line) <= 16 * 1024 + 20
    assert line.endswith((" cut=true", '"cut": true}'))
    record.fields = {}
    record.msg = value if isinstance(value, str) else "x" * 1_000_000
    assert len(formatter.format(record)) <= 14 * 1024


def test_the_end_of_a_long_trace_is_kept(text: Callable[[], str]) -> None:
    try:
        raise ValueError("x" * 100_000 + "the end")
    except ValueError:
        log.exception("this is a bug")
    assert text().endswith('the end"\n')
    assert len(text()) < 16 * 1024


def test_json_fields_do_not_hide_the_head(parsed: Callable[[], dict[str, object]]) -> None:
    log.info("x", msg="y", level=3)
    result = parsed()
    assert (result["msg"], result["msg_"], result["level"], result["level_"]) == ("x", "y", "info", 3)


def test_exception_without_one_has_no_trace(text: Callable[[], str]) -> None:
    log.exception("x")
    assert after_bracket(text()) == '"x"\n'
