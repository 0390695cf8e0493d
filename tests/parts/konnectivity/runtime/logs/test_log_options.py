"""Options of the log, with the files that they name."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import UsageError, parse


@pytest.mark.parametrize("kind", ["directory", "loop", "pipe", "none/below"])
def test_a_log_file_that_cannot_be_opened_is_told_in_words(tmp_path, kind):
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    command = [Path(sys.executable).parent / "proxy-agent", "--logtostderr=false", f"--log-file={tmp_path / kind}"]
    command += ["--ca-cert=/dev/null", "--proxy-server-host=127.0.0.1"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20).stderr
    assert said.count("Cannot open the log file, logging to stderr") == 1
    assert "Errno" not in said
    assert "Traceback" not in said


log = logs.get("test")


@pytest.fixture
def text() -> Callable[[], str]:
    stream = io.StringIO()
    logs.configure(4, stream)
    return stream.getvalue


@dataclass(frozen=True)
class Program(LogOptions):
    """Options of a program that adds none of its own."""


def configured(*argv: str) -> Program:
    options = parse(Program, argv, {}, "program")
    options.configure_log("program")
    return options


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the content of stderr after it has been written."""
    logs.flush()
    return capsys.readouterr().err


def settled(path: Path, text: str) -> str:
    """Return the file's text once another thread has written it."""
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
    assert " logs/test_log_options.py:" in said(capsys)


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
