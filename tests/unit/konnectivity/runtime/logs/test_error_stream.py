"""Errors in the log: words for a person, no numbers or names of classes."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
