"""Records of log lines with fields, and where in the code a line was written."""

from __future__ import annotations

import logging
import os
import sys
import time
from types import TracebackType

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class FieldRecord(logging.LogRecord):
    """Record of a message with fields.

    The base class looks up thread, task, module and function for each record, which no line of this project shows. A
    record without them takes a third of the time, and each dial has two lines in each program.

    Args:
        place: file and line that wrote it.

    """

    def __init__(
        self,
        name: str,
        level: int,
        place: tuple[str, int],
        message: str,
        fields: dict[str, object],
        error: ErrorInfo | None = None,
    ) -> None:
        self.__dict__.update(_SAME_FOR_ALL)
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.pathname, self.lineno = place
        self.filename = self.module = self.pathname.rpartition("/")[2]
        self.msg = message
        self.fields = fields
        self.exc_info = error
        self.process = os.getpid()
        self.created = time.time()  # noqa: TID251  # a line has the time of day
        self.msecs = self.created % 1 * 1000


# Attributes that formatters of other libraries may show.
_SAME_FOR_ALL = {
    "args": None,
    "exc_text": None,
    "funcName": "",
    "processName": "MainProcess",
    "relativeCreated": 0.0,
    "stack_info": None,
    "taskName": None,
    "thread": None,
    "threadName": "MainThread",
}


def compiled_file(module: str) -> str | None:
    """Return the file of a compiled module, whose functions have no frame with a line; None for other modules."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is not None and (spec.origin or "").endswith(".so"):
        return f"{module.replace('.', '/')}.py"
    return None
