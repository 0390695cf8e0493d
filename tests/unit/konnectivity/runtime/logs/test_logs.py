"""The two formats, the verbosity, and the caller's place in each line."""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import UsageError, parse

log = logs.get("test")


class Place(NamedTuple):
    """A value with fields, which has a text of its own."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The root logger as it was, and no handler of ours."""
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
        r"I(\d{4} \d\d:\d\d):\d\d\.\d{6} ([ \d]{7}) test_logs\.py:(\d+)\] (.*)\n", text(), re.ASCII | re.DOTALL
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


def test_each_method_shows_its_caller(text: Callable[[], str]) -> None:
    log.info("x")
    log.warning("x")
    log.error("x")
    log.exception("x")
    first = line_number() - 4
    assert re.findall(r"test_logs\.py:(\d+)\]", text()) == [str(first + i) for i in range(4)]


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


def test_json_line(parsed: Callable[[], dict[str, object]]) -> None:
    log.warning("two\nlines", agent="a-1", streams=2, err=TimeoutError(), odd={1})
    here = line_number() - 1
    result = parsed()
    assert abs(time.time() - float(str(result.pop("ts")))) < 60
    assert result == {
        "level": "warning",
        "caller": f"test_logs.py:{here}",
        "msg": "two\nlines",
        "agent": "a-1",
        "streams": 2,
        "err": "i/o timeout",
        "odd": "{1}",
    }


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


# --- where it goes ---


@dataclass(frozen=True)
class Program(LogOptions):
    """A program with no options of its own."""


def configured(*argv: str) -> Program:
    options = parse(Program, argv, {}, "program")
    options.configure_log("program")
    return options


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What is on stderr, once it is written."""
    logs.flush()
    return capsys.readouterr().err


def settled(path: Path, text: str) -> str:
    """The file, once it has the text: another thread writes it."""
    end = time.monotonic() + 5
    found = ""
    while text not in found:
        assert time.monotonic() < end, found or "no file"
        time.sleep(0.01)
        with suppress(FileNotFoundError):
            found = path.read_text()
    return found


def test_to_stderr_only_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(f"--log-file={tmp_path}/log")
    log.info("here")
    assert "here" in said(capsys)
    assert not (tmp_path / "log").exists()


def test_to_a_file_and_errors_to_stderr_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured("--logtostderr=false", f"--log-file={tmp_path}/log")
    log.info("all is well")
    log.error("all is not well")
    text = settled(tmp_path / "log", "not well")
    assert "all is well" in text
    errors = said(capsys)
    assert "all is not well" in errors
    assert "all is well" not in errors


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (("--alsologtostderr",), {"info", "warning", "error"}),
        (("--alsologtostderr", "--alsologtostderrthreshold=WARNING"), {"warning", "error"}),
        (("--stderrthreshold=1",), {"warning", "error"}),
        (("--stderrthreshold=info",), {"info", "warning", "error"}),
        (("--stderrthreshold=3",), set()),
        (("--logtostderr", "--stderrthreshold=2"), {"info", "warning", "error"}),
        (("--logtostderr", "--stderrthreshold=2", "--legacy-stderr-threshold-behavior=false"), {"error"}),
    ],
)
def test_thresholds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], shown: set[str]
) -> None:
    configured("--logtostderr=false", f"--log-file={tmp_path}/log", *flags)
    log.info("info")
    log.warning("warning")
    log.error("error")
    lines = said(capsys).splitlines()
    assert {line.rpartition("] ")[2].strip('"') for line in lines} == shown


def test_a_directory_gets_a_file_named_as_klog_names_it(tmp_path: Path) -> None:
    configured("--logtostderr=false", f"--log-dir={tmp_path}")
    log.info("here")
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(rf"program\..+\..+\.log\.INFO\.\d{{8}}-\d{{6}}\.{os.getpid()}", path.name)
    settled(path, "here")


def test_a_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configured("--logtostderr=false", f"--log-file={path}")
    log.info("before")
    settled(path, "before")
    path.rename(tmp_path / "old")
    log.info("after")
    assert "before" not in settled(path, "after")


def test_a_full_file_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (1024 * 1024))
    configured("--logtostderr=false", f"--log-file={path}", "--log-file-max-size=1")
    log.info("after")
    settled(path, "after")
    assert path.stat().st_size < 1000
    assert (tmp_path / "log.1").stat().st_size == 1024 * 1024


def test_a_disk_that_takes_nothing_is_counted_and_nothing_else() -> None:
    configured("--logtostderr=false", "--log-file=/dev/full", "--stderrthreshold=3")
    for _ in range(5):
        log.info("lost")
    end = time.monotonic() + 5
    while logs.dropped() < 5:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_that_cannot_be_opened_is_said_and_stderr_used(capsys: pytest.CaptureFixture[str]) -> None:
    configured("--logtostderr=false", "--log-file=/no/such/directory/log")
    log.info("still here")
    errors = said(capsys)
    assert "Cannot open the log file" in errors
    assert "still here" in errors


def test_headers(capsys: pytest.CaptureFixture[str]) -> None:
    configured("--skip-headers")
    log.info("bare", x=1)
    assert said(capsys) == '"bare" x=1\n'
    configured("--add-dir-header")
    log.info("placed")
    assert " logs/test_logs.py:" in said(capsys)


def test_levels_of_single_modules() -> None:
    native, proxy = (
        logs.get("konnectivity.grpc.http2_transport"),
        logs.get("konnectivity_server.frontends.grpc_frontend"),
    )
    configured("--v=2", "--vmodule=http2_t*=8,grpc_?rontend=1")
    assert (native.v(8), native.v(9), proxy.v(1), proxy.v(2), log.v(2), log.v(3)) == (
        (True, False, True, False, True, False)
    )
    configured("--v=2")
    assert (native.v(2), native.v(3)) == (True, False)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--vmodule=a", "is not pattern=N"),
        ("--stderrthreshold=loud", "must be INFO"),
        ("--logging-format=xml", "must be one of: text, json"),
        ("--log-file-max-size=-1", "must be 0 or more"),
    ],
)
def test_refused(argument: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(Program, [argument], {}, "program")


def test_flags_without_effect_say_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    configured("--one-output", "-v=1")
    assert "--one-output has no effect here: there is one log file" in said(capsys)
    configured("--one-output", "-v=0")
    assert said(capsys) == ""
