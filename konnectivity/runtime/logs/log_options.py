"""Options of the log that both programs have: klog's flags with klog's meaning, and the format."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

from konnectivity import __version__
from konnectivity.runtime import logs
from konnectivity.runtime.build_kind import build_kind
from konnectivity.runtime.logs import LogDestination
from konnectivity.runtime.options import Options, at_least, notices, one_of, option

_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}
_NAMES = {"INFO": "0", "WARNING": "1", "ERROR": "2", "FATAL": "3"}
_MODULE = re.compile(r"([^=,]+)=([0-9]{1,9})")


def _threshold(text: str) -> str | None:
    known = text in _LEVELS or text.upper() in _NAMES
    return None if known else "must be INFO, WARNING, ERROR, FATAL, or a number from 0 to 3"


def _level(text: str) -> int:
    return _LEVELS[_NAMES.get(text.upper(), text)]


def _modules(text: str) -> str | None:
    wrong = [item for item in text.split(",") if item and not _MODULE.fullmatch(item)]
    return f"{wrong[0]!r} is not pattern=N" if wrong else None


@dataclass(frozen=True, init=False, repr=False, eq=False)
class LogOptions(Options):
    """Options of the log, base of `ProgramOptions`."""

    verbosity: int = option(
        4,
        group="Log",
        name="v",
        aliases=("v",),
        help="Log level (0 = start and stop, agents, failed dials, warnings, errors; 6 = also packets).",
    )
    vmodule: str = option(
        "",
        check=_modules,
        metavar="patterns",
        help="Comma-separated log levels of single modules, pattern=N each; * and ? in a pattern match file names "
        "without .py (empty = -v for all modules).",
    )
    logging_format: str = option("text", check=one_of("text", "json"), help="Format of log lines: text or json.")
    logtostderr: bool = option(True, help="Write the log to standard error and not to a file.")
    alsologtostderr: bool = option(
        False, help="Write the log to standard error as well as to a file, with --logtostderr=false."
    )
    stderrthreshold: str = option(
        "2",
        check=_threshold,
        help="Lowest severity of lines that go to standard error as well as to a log file: INFO, WARNING, ERROR, "
        "FATAL, or a number from 0 to 3.",
    )
    alsologtostderrthreshold: str = option(
        "0",
        check=_threshold,
        help="Lowest severity of lines that go to standard error with --alsologtostderr: INFO, WARNING, ERROR, FATAL, "
        "or a number from 0 to 3.",
    )
    legacy_stderr_threshold_behavior: bool = option(
        True,
        help="Ignore --stderrthreshold without a log file, so that every line goes to standard error; false = apply "
        "--stderrthreshold in every case.",
    )
    log_file: str = option(
        "",
        metavar="file",
        help="Log file to append to, with --logtostderr=false (empty = a new file in --log-dir).",
    )
    log_file_max_size: int = option(
        1800,
        check=at_least(0),
        help="Maximum size of the log file in MiB; at the limit the file is renamed to end with .1 (0 = unlimited).",
    )
    log_dir: str = option(
        "",
        metavar="directory",
        help="Directory for a new log file, with --logtostderr=false and no --log-file (empty = the system's directory "
        "for temporary files).",
    )
    skip_headers: bool = option(False, help="Omit severity, time, process, file and line number from log lines.")
    add_dir_header: bool = option(False, help="Show the directory of the source file in log lines.")
    skip_log_headers: bool = option(False, instead="log files begin with the first message")
    one_output: bool = option(False, instead="there is one log file for all severities")
    log_backtrace_at: str = option(
        "", metavar="file:line", instead="errors of the program itself are logged with their stack"
    )

    def start_log(self, program: str) -> None:
        """Configure the log of a program that starts; the first line is its version."""
        self._open_log(program)
        python = sys.version.split()[0]
        logs.get(program).info("Starting", program=program, version=__version__, build=build_kind(), python=python)
        self._log_notices(program)

    def configure_log(self, program: str) -> None:
        """Configure the log, and log which of the given options have no effect."""
        self._open_log(program)
        self._log_notices(program)

    def _open_log(self, program: str) -> None:
        modules = tuple((pattern, int(level)) for pattern, level in _MODULE.findall(self.vmodule))
        destination = self._destination(program)
        try:
            logs.configure(self.verbosity, destination=destination, modules=modules)
        except OSError as error:
            logs.configure(
                self.verbosity, destination=replace(destination, stderr_from=logging.INFO, file=""), modules=modules
            )
            logs.get(program).error("Cannot open the log file, logging to stderr", file=destination.file, reason=error)

    def _log_notices(self, program: str) -> None:
        log = logs.get(program)
        if log.v(1):
            for line in notices(self):
                log.info(line)

    def _destination(self, program: str) -> LogDestination:
        as_json = self.logging_format == "json"
        header, directory = not self.skip_headers, self.add_dir_header
        if self.logtostderr:
            from_level = logging.INFO if self.legacy_stderr_threshold_behavior else _level(self.stderrthreshold)
            return LogDestination(stderr_from=from_level, json=as_json, header=header, directory=directory)
        level = _level(self.stderrthreshold)
        if self.alsologtostderr:
            level = min(level, _level(self.alsologtostderrthreshold))
        file = self.log_file or os.path.join(self.log_dir or _temporary_directory(), _file_name(program))
        size = self.log_file_max_size * 1024 * 1024
        return LogDestination(level, file, size, as_json, header, directory)


def _temporary_directory() -> str:
    import tempfile  # loaded for log files only: it takes memory

    with suppress(FileNotFoundError):  # no directory is writable
        return tempfile.gettempdir()
    return "/tmp"  # noqa: S108 - to be named in the error that follows  # nosec B108


def _file_name(program: str) -> str:
    """Return klog's name of a log file: program, host, user, severity, time, process."""
    import getpass
    from datetime import datetime

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    return f"{program}.{socket.gethostname().partition('.')[0]}.{user}.log.INFO.{moment}.{os.getpid()}"
