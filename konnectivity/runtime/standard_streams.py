"""Standard streams of a program: opened if missing, and written without a traceback.

Owns the reaction to a closed stream, to a reader that left, and to a full device. Does not know what is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from konnectivity.net.error_texts import words_of

_FAILED = 1  # exit code


class OutputLostError(SystemExit):
    """Failed write to standard output, which ends the command; a SystemExit, so that handlers of OSError pass it on."""

    def __init__(self, error: OSError) -> None:
        super().__init__(_FAILED)
        self.error = error


def open_missing() -> None:
    """Open the null device in place of each standard stream that is closed.

    Otherwise the next socket or file would get its number: messages for a person would be written there, and the event
    loop ends the process when it closes a descriptor below 3.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  # open until the process ends


def say(text: str) -> None:
    """Write a text to standard output.

    Raises:
        OutputLostError: the write failed.

    """
    try:
        sys.stdout.write(text)
    except OSError as error:
        raise OutputLostError(error) from error


def complain(text: str) -> None:
    """Write a text to standard error. A failed write is ignored, since there is nowhere to report it."""
    with suppress(OSError):
        sys.stderr.write(text)


@contextmanager
def checked(program: str) -> Iterator[None]:
    """Run a block that prints, and flush its output. On failure print one line with the reason and exit with code 1.

    If the reader of the output left, as `head` does, nothing is printed.
    """
    open_missing()
    lost: OSError | None = None
    try:
        yield
    except OutputLostError as error:
        lost = error.error
    except BrokenPipeError as error:
        lost = error
    finally:
        lost = _delivered(sys.stdout) or lost
        if lost is not None and not isinstance(lost, BrokenPipeError):
            complain(f"{program}: cannot write the output: {words_of(lost)}\n")
        _delivered(sys.stderr)
        if lost is not None:
            sys.exit(_FAILED)


def _delivered(stream: TextIO) -> OSError | None:
    """Flush a stream. On failure return the error and drop the buffer, which the interpreter would complain about."""
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
        return error
    return None
