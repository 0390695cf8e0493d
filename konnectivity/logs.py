"""Log lines in klog's text format or as JSON, on top of the standard logging.

Owns the two formats, the verbosity (`-v`), and the `Log` that call sites write to. Does not know what is logged, nor
where the output is kept.
"""

from __future__ import annotations

import json as jsonlib
import logging
import sys
import time
from collections.abc import Mapping
from typing import TextIO

_HANDLER = "konnectivity"
_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_verbosity = 0


class Log:
    """Writes messages with fields: `log.info("dialled", address="10.0.0.1:80", took=0.2)`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    # stacklevel=2 in each: the line shows the file of the caller, not this one.

    def info(self, message: str, /, **fields: object) -> None:
        self._logger.info(message, extra={"fields": fields}, stacklevel=2)

    def warning(self, message: str, /, **fields: object) -> None:
        self._logger.warning(message, extra={"fields": fields}, stacklevel=2)

    def error(self, message: str, /, **fields: object) -> None:
        self._logger.error(message, extra={"fields": fields}, stacklevel=2)

    def exception(self, message: str, /, **fields: object) -> None:
        """An error with the traceback of the exception being handled: for our own mistakes, never for bad input."""
        self._logger.error(message, exc_info=sys.exc_info(), extra={"fields": fields}, stacklevel=2)

    def v(self, level: int) -> bool:
        """Whether details of this level are wanted: `if log.v(4): log.info(...)`."""
        return level <= _verbosity


def get(name: str) -> Log:
    """The log of a part of the program. Fine at import time, before `configure`."""
    return Log(logging.getLogger(name))


def configure(verbosity: int, stream: TextIO | None = None, json: bool = False) -> None:
    """Send all logging of the process to a stream (default: stderr as it is now). May be called again."""
    global _verbosity
    _verbosity = verbosity
    root = logging.getLogger()
    for handler in [each for each in root.handlers if each.name == _HANDLER]:
        root.removeHandler(handler)
        handler.close()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.name = _HANDLER
    handler.setFormatter(JsonFormatter() if json else KlogFormatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)


class KlogFormatter(logging.Formatter):
    """`I1123 09:46:53.123456   12345 module.py:42] message key="value"`, always a single line."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = int(record.created)
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
        micros = int((record.created - seconds) * 1e6)
        line = (
            f"{_severity(record.levelno)[0].upper()}{clock}.{micros:06} {record.process:7} "
            f"{record.filename}:{record.lineno}] {_escape(record.getMessage())}"
        )
        return line + "".join(f" {key}={_value(value)}" for key, value in _fields(self, record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `ts` (seconds), `level`, `caller`, `msg`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": round(record.created, 6),
            "level": _severity(record.levelno),
            "caller": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
        }
        for key, value in _fields(self, record).items():
            line[f"{key}_" if key in line else key] = _text(value) if isinstance(value, BaseException) else value
        return jsonlib.dumps(line, default=str)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> Mapping[str, object]:
    """The fields of a record of ours, or none; and the traceback, if there is one."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    if record.exc_info and record.exc_info[0]:
        return {**fields, "trace": formatter.formatException(record.exc_info)}
    return fields


def _severity(level: int) -> str:
    if level >= logging.CRITICAL:
        return "fatal"
    if level >= logging.ERROR:
        return "error"
    return "warning" if level >= logging.WARNING else "info"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "<nil>" if value is None else quote(_text(value))


def _text(value: object) -> str:
    # An exception without words, such as TimeoutError(), is told by its name.
    return str(value) or (type(value).__name__ if isinstance(value, BaseException) else "")


def quote(text: str) -> str:
    """A string in double quotes, escaped as Go's %q does."""
    return '"' + _escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _escape(text: str) -> str:
    """Line breaks and other control characters written out, so that a peer's text cannot forge a log line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
