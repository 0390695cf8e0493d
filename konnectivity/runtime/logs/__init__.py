"""Log of a program: messages with fields, in klog's text format or as JSON, to stderr, to a file, or to both.

`get` returns the log of a module, `get_peer_log` the rate-limited log for lines that peers cause, and `configure` sets
destination and verbosity. docs/operate/logging.md lists what is logged at which verbosity.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import FrameType
from typing import TextIO

from konnectivity.runtime.logs.line_rate import LineRate
from konnectivity.runtime.logs.log_formats import JsonFormatter, KlogFormatter, severity
from konnectivity.runtime.logs.log_outputs import LogFile, Sink, sink_of
from konnectivity.runtime.logs.log_record import ErrorInfo, FieldRecord, compiled_file
from konnectivity.runtime.logs.log_scope import scope
from konnectivity.runtime.logs.log_writer import Writer

__all__ = [
    "Destination",
    "JsonFormatter",
    "KlogFormatter",
    "LineRate",
    "Log",
    "PeerLog",
    "configure",
    "dropped",
    "flush",
    "get",
    "get_peer_log",
    "left_out",
    "severity",
]

_HANDLER = "konnectivity"
_verbosity = 0
_modules: tuple[tuple[str, int], ...] = ()
_logs: list[Log] = []
_line_rate = LineRate()
_line_rates = [_line_rate]
_left_out_of_scopes = 0


class Log:
    """Log of one module: `log.info("dialled", address="10.0.0.1:80", took=0.2)` writes a message with fields.

    Attributes:
        verbosity: level of detail that `configure` set for the module.

    """

    __slots__ = ("_lines", "_name", "verbosity")

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines = _ModuleLines(name)
        self.verbosity = 0
        self.refresh()
        _logs.append(self)

    # Each asks for the frame of its caller itself: one call less per line.

    def info(self, message: str, /, **fields: object) -> None:
        self._lines.write(logging.INFO, sys._getframe(1), message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        self._lines.write(logging.WARNING, sys._getframe(1), message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        self._lines.write(logging.ERROR, sys._getframe(1), message, fields)

    def exception(self, message: str, /, **fields: object) -> None:
        """Log an error with the traceback of the current exception: for programming errors, never for bad input."""
        self._lines.write(logging.ERROR, sys._getframe(1), message, fields, sys.exc_info())

    def v(self, level: int) -> bool:
        """Return whether lines of this level are written: `if log.v(4): log.info(...)`."""
        return level <= self.verbosity

    def refresh(self) -> None:
        """Read the verbosity that `configure` set."""
        stem = self._name.rpartition(".")[2]
        own = [level for pattern, level in _modules if fnmatchcase(stem, pattern)]
        self.verbosity = own[0] if own else _verbosity


class PeerLog:
    """Rate-limited log for lines that peers cause: at most 10 per message and peer in 10 s.

    `log.warning("10.0.0.7", "Agent refused", reason=...)`: the first argument, a peer's address, name or source, is the
    key of the rate and is not written. The message is a fixed text. The next line after a gap has the number of lines
    left out before it as `left_out` (about this peer) and `left_out_of_others` (about peers that were forgotten since).
    """

    __slots__ = ("_lines", "_rate")

    def __init__(self, name: str, rate: LineRate) -> None:
        self._lines = _ModuleLines(name)
        self._rate = rate

    def info(self, peer: str, message: str, /, **fields: object) -> None:
        self._write(logging.INFO, peer, message, fields)

    def warning(self, peer: str, message: str, /, **fields: object) -> None:
        self._write(logging.WARNING, peer, message, fields)

    def error(self, peer: str, message: str, /, **fields: object) -> None:
        self._write(logging.ERROR, peer, message, fields)

    def _write(self, level: int, peer: str, message: str, fields: dict[str, object]) -> None:
        global _left_out_of_scopes
        own = scope.get()
        taken = (self._rate if own is None else own).take(message, peer)
        if taken is None:
            _left_out_of_scopes += own is not None
            return
        counts = dict(zip(("left_out", "left_out_of_others"), taken, strict=True))
        fields |= {name: lines for name, lines in counts.items() if lines}
        self._lines.write(level, sys._getframe(2), message, fields)


class _ModuleLines:
    """Way of one module's lines to the handlers of the standard library's logging."""

    __slots__ = ("_compiled_file", "_logger")

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._compiled_file = compiled_file(name)

    def write(
        self, level: int, caller: FrameType, message: str, fields: dict[str, object], error: ErrorInfo | None = None
    ) -> None:
        logger = self._logger
        if logger.isEnabledFor(level):
            file = self._compiled_file
            if (own := scope.get()) is not None:
                fields = {"tenant": own.tenant, **fields}
            place = (caller.f_code.co_filename, caller.f_lineno) if file is None else (file, 0)
            logger.handle(FieldRecord(logger.name, level, place, message, fields, error))


@dataclass(frozen=True, slots=True)
class LogDestination:
    """Destination and form of the log. Thresholds are levels of the standard library's logging."""

    stderr_from: int | None = logging.INFO  # None: no line is written to stderr
    file: str = ""
    max_file_size: int = 0  # bytes; 0: unlimited
    json: bool = False
    header: bool = True
    directory: bool = False


def get(name: str) -> Log:
    """Return the log of the module `name`. May be called before `configure`."""
    return Log(name)


def get_peer_log(name: str, rate: LineRate | None = None) -> PeerLog:
    """Return the rate-limited log of the module `name`; without `rate`, all modules share one."""
    if rate is not None:
        _line_rates.append(rate)
    return PeerLog(name, _line_rate if rate is None else rate)


def left_out() -> int:
    """Return the number of lines about peers that the rate limit left out."""
    return sum(rate.left_out for rate in _line_rates) + _left_out_of_scopes


def dropped() -> int:
    """Return the number of lines that could not be written."""
    return sum(each.dropped for each in logging.getLogger().handlers if isinstance(each, Writer))


def flush() -> None:
    """Wait for at most a second until all lines are written. The end of the process does so as well."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def configure(
    verbosity: int,
    stream: TextIO | None = None,
    destination: LogDestination | None = None,
    modules: tuple[tuple[str, int], ...] = (),
) -> None:
    """Set the destination and verbosity of all logs of the process. May be called again.

    Args:
        verbosity: level of detail.
        stream: stream instead of stderr, which the thread that logs writes to.
        destination: destination and form; without `stream`, a thread of its own writes the lines.
        modules: (pattern, level) for modules whose file name without .py matches the pattern; the first match
            counts.

    Raises:
        OSError: the file cannot be opened, and nothing has changed.

    """
    global _verbosity, _modules
    where = destination or LogDestination()
    if stream is None and destination is not None:
        handler: logging.Handler = Writer(_sinks(destination))
    else:
        handler = logging.StreamHandler(stream or sys.stderr)
    _verbosity, _modules = verbosity, modules
    for each in _logs:
        each.refresh()
    logging.raiseExceptions = False  # a full disk neither raises nor prints an error per line
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.name == _HANDLER]:
        root.removeHandler(old)
        old.close()
    handler.name = _HANDLER
    handler.setFormatter(JsonFormatter() if where.json else KlogFormatter(where.header, where.directory))
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _sinks(where: LogDestination) -> list[tuple[int, Sink]]:
    sinks: list[tuple[int, Sink]] = []
    if where.stderr_from is not None and sys.stderr is not None:  # None: the process has no stderr
        sinks.append((where.stderr_from, sink_of(sys.stderr)))
    if where.file:
        sinks.append((logging.NOTSET, LogFile(where.file, where.max_file_size)))
    return sinks
