"""How a log line looks: klog's text, or JSON. Owns the escaping that keeps a peer's text from forging lines."""

from __future__ import annotations

import json as jsonlib
import logging
import time
from collections.abc import Mapping

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


class KlogFormatter(logging.Formatter):
    """`I1123 09:46:53.123456   12345 module.py:42] message key="value"`, always a single line.

    Args:
        header: whether what stands before the message is written.
        directory: whether the file's directory is, too.
    """

    def __init__(self, header: bool = True, directory: bool = False) -> None:
        super().__init__()
        self._header = header
        self._directory = directory

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_value(value)}" for key, value in _fields(self, record).items())
        if not self._header:
            return _escape(record.getMessage()) + fields
        file = "/".join(record.pathname.rsplit("/", 2)[-2:]) if self._directory else record.filename
        seconds = int(record.created)
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
        micros = int((record.created - seconds) * 1e6)
        line = (
            f"{severity(record.levelno)[0].upper()}{clock}.{micros:06} {record.process:7} "
            f"{file}:{record.lineno}] {_escape(record.getMessage())}"
        )
        return line + fields


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `ts` (seconds), `level`, `caller`, `msg`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": round(record.created, 6),
            "level": severity(record.levelno),
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


def severity(level: int) -> str:
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
