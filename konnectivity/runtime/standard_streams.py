"""Standard streams of a program: there, whatever it was started with, and written without a traceback.

Owns what happens when a stream is closed, its reader has left, or its device is full. Does not know what is written.
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
    """Standard output takes no more: the command ends. No handler of other errors takes this for one of its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(_FAILED)
        self.error = error


def open_missing() -> None:
    """Open the null device in place of each standard stream that is closed.

    Otherwise the next socket or file would take its number: what is meant for a person would be written there, and the
    event loop ends the process when it closes a descriptor below 3.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  # as long as the process


def say(text: str) -> None:
    """Write a text to standard output."""
    try:
        sys.stdout.write(text)
    except OSError as error:
        raise OutputLostError(error) from error


def complain(text: str) -> None:
    """Write a text to standard error. If that takes none, nobody is there to be told."""
    with suppress(OSError):
        sys.stderr.write(text)


@contextmanager
def checked(program: str) -> Iterator[None]:
    """Run a block that prints, and deliver what it printed. If that fails, say why in one line, and exit with 1.

    A reader that left, as `head` does, is no news: nothing is said.
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
    """Flush a stream. If that fails, drop what it holds, or the interpreter complains of it when it ends."""
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
