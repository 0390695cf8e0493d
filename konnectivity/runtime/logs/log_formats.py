"""Formats of log lines: klog's text, or JSON. Owns the lengths of lines and values.

Texts of peers are escaped (`untrusted_text`), so that they cannot forge lines, and cut, so that a line has a maximum
length.
"""

from __future__ import annotations

import json as jsonlib
import logging
import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

from konnectivity.net.error_texts import words_of
from konnectivity.untrusted.untrusted_text import CUT, quoted, visible

MAX_VALUE = 2 * 1024  # characters of a message or value
MAX_TRACE = 8 * 1024  # characters of a stack trace, of which the end is kept
MAX_LINE = 16 * 1024  # characters of a line; fields that do not fit are left out
_LETTERS = {logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E"}
_TRACE = "trace"
_STAMP = ("ts", "level", "caller", "msg")  # of a line in JSON; a field with such a name gets another
_NUMBERS = (int, float)  # a bool is an int
_CONTAINERS = (list, tuple, dict)
_json = jsonlib.JSONEncoder().encode
_compact = jsonlib.JSONEncoder(separators=(",", ":")).encode
_CUT_FIELD = "cut"  # is true in a line without the fields that did not fit


class KlogFormatter(logging.Formatter):
    """Formatter of `I1123 09:46:53.123456   12345 module.py:42] "message" key="value"`, always one line.

    The message of a line with fields is quoted; lines of other libraries are klog's plain ones.

    Args:
        header: whether severity, time, process and file precede the message.
        directory: whether the directory of the file is written, too.

    """

    def __init__(self, header: bool = True, directory: bool = False) -> None:
        super().__init__()
        self._header = header
        self._directory = directory
        self._second = -1  # of the last line
        self._clock = ""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        structured = hasattr(record, "fields")
        line = quoted(message, MAX_VALUE) if structured else visible(message, MAX_VALUE)
        line = self._head(record) + line if self._header else line
        for key, value in _fields(self, record).items():
            field = f" {key}={_value(key, value)}"
            if len(line) + len(field) > MAX_LINE:
                return f"{line} {_CUT_FIELD}=true"
            line += field
        return line

    def _head(self, record: logging.LogRecord) -> str:
        seconds = int(record.created)
        if seconds != self._second:
            self._second = seconds
            self._clock = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
        micros = int((record.created - seconds) * 1e6)
        file = "/".join(record.pathname.rsplit("/", 2)[-2:]) if self._directory else record.filename
        letter = _LETTERS.get(record.levelno) or severity(record.levelno)[0].upper()
        return f"{letter}{self._clock}.{micros:06} {record.process:7} {file}:{record.lineno}] "


class JsonFormatter(logging.Formatter):
    """Formatter of one JSON object per line: `ts` (seconds), `level`, `caller`, `msg`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        caller = _json(f"{record.filename}:{record.lineno}")
        message = _json(_escaped_shortly("msg", record.getMessage()))
        stamp = f'"ts": {round(record.created, 6)}, "level": "{severity(record.levelno)}"'
        line = f'{{{stamp}, "caller": {caller}, "msg": {message}'
        for key, value in _fields(self, record).items():
            short = bounded(value, key)
            text = _json(_escaped_shortly(key, short) if isinstance(short, str) else short)
            field = f", {_json(f'{key}_' if key in _STAMP else key)}: {text}"
            if len(line) + len(field) > MAX_LINE:
                return f'{line}, "{_CUT_FIELD}": true}}'
            line += field
        return line + "}"


def bounded(value: object, key: str = "") -> object:
    """Return `value` as a JSON value, with texts cut to the length of a value; a longer value as its text, cut."""
    if type(value) is str:
        return _shortened(key, value)
    if value is None or isinstance(value, _NUMBERS):
        return value
    if isinstance(value, _CONTAINERS) and not hasattr(value, "_fields"):  # a named tuple has a text
        try:
            text = jsonlib.dumps(value, default=str)
        except (TypeError, ValueError):  # keys that are not texts, or a value that contains itself
            text = str(value)
        else:
            if len(text) <= MAX_VALUE:
                return jsonlib.loads(text)
        return _shortened(key, text)
    return _shortened(key, _text(value))


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> Mapping[str, object]:
    """Return the fields of a record, with its traceback if it has one."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    if record.exc_info and record.exc_info[0]:
        return {**fields, _TRACE: formatter.formatException(record.exc_info)}
    return fields


def severity(level: int) -> str:
    """Return the name of a logging level."""
    if level >= logging.CRITICAL:
        return "fatal"
    if level >= logging.ERROR:
        return "error"
    return "warning" if level >= logging.WARNING else "info"


def _value(key: str, value: Any) -> str:
    """Return a value as klog writes it: texts quoted, everything else as JSON."""
    kind = type(value)
    if kind is int or (kind is float and isfinite(value)):
        return repr(value)
    short = bounded(value, key)
    if isinstance(short, str):
        return quoted(short, MAX_TRACE if key == _TRACE else MAX_VALUE)
    return _compact(short)


def _shortened(key: str, text: str) -> str:
    if key == _TRACE:
        return text if len(text) <= MAX_TRACE // 2 else CUT + text[-MAX_TRACE // 2 :]
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + CUT


def _escaped_shortly(key: str, text: str) -> str:
    """Return `text`, shortened so that its JSON has at most the length of two values."""
    short = _shortened(key, text)
    most = MAX_TRACE if key == _TRACE else 2 * MAX_VALUE
    if len(short) <= most // 12 or len(_json(short)) <= most:
        return short
    return CUT + short[-most // 12 :] if key == _TRACE else short[: most // 12 - 1] + CUT


def _text(value: object) -> str:
    """Return the text of a value; that of an error has neither its number nor the name of its class."""
    if isinstance(value, BaseException) and (not str(value) or "Errno" in str(value)):
        return words_of(value)
    return str(value)
