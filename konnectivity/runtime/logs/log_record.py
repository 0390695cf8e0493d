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
    record without them takes a tenth of the time, and each dial has two lines.

    Args:
        place: file and line that wrote it.

    """

    args = None
    exc_text = stack_info = taskName = None
    thread = None
    threadName, processName, funcName = "MainThread", "MainProcess", ""

    def __init__(
        self,
        name: str,
        level: int,
        place: tuple[str, int],
        message: str,
        fields: dict[str, object],
        error: ErrorInfo | None = None,
    ) -> None:
        self.name = name
        self.process = os.getpid()
        self.levelno = level
        self.pathname, self.lineno = place
        self.msg = message
        self.fields = fields
        self.exc_info = error
        self.created = time.time()  # noqa: TID251  # a line has the time of day

    def getMessage(self) -> str:
        """Return the message, which has no arguments."""
        return str(self.msg)

    @property
    def levelname(self) -> str:  # type: ignore[override]
        return logging.getLevelName(self.levelno)

    @property
    def filename(self) -> str:  # type: ignore[override]
        return os.path.basename(self.pathname)

    @property
    def module(self) -> str:  # type: ignore[override]
        return os.path.splitext(self.filename)[0]

    @property
    def msecs(self) -> float:  # type: ignore[override]
        return self.created % 1 * 1000

    @property
    def relativeCreated(self) -> float:  # type: ignore[override]
        return 0.0


def compiled_file(module: str) -> str | None:
    """Return the file of a compiled module, whose functions have no frame with a line; None for other modules."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is not None and (spec.origin or "").endswith(".so"):
        return f"{module.replace('.', '/')}.py"
    return None
