"""Streams of the tool that escape every character a terminal would act on, whoever wrote the text.

All text of the tool passes through this module, which does not know where a text is from. A command that draws on a
terminal, such as `konnectivity top`, takes the stream behind (`unguarded`) and escapes untrusted text itself.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO, cast

from konnectivity.runtime.standard_streams import OutputLostError
from konnectivity.untrusted.untrusted_text import printable


class PlainStream(io.TextIOBase):
    """Text stream that writes every character that is not printable as an escape, except line ends and tabs."""

    def __init__(self, behind: TextIO) -> None:
        super().__init__()
        self.behind = behind

    def write(self, text: str) -> int:
        try:
            self.behind.write(printable(text))
        except OSError as error:
            raise OutputLostError(error) from error
        return len(text)

    def flush(self) -> None:
        try:
            self.behind.flush()
        except OSError as error:
            raise OutputLostError(error) from error

    def isatty(self) -> bool:
        return self.behind.isatty()

    def fileno(self) -> int:
        return self.behind.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the base class
        return self.behind.encoding

    @property
    def buffer(self) -> BinaryIO:
        return self.behind.buffer


class Payload:
    """Bytes of a destination on standard output: unchanged to a file or a pipe, as plain text to a terminal."""

    def __init__(self) -> None:
        self._as_text = sys.stdout.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: bytes) -> None:
        if self._as_text:
            sys.stdout.write(printable(self._decoder.decode(data).replace("\r\n", "\n")))
            sys.stdout.flush()
        else:
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError as error:
                raise OutputLostError(error) from error


@contextmanager
def plain_streams() -> Iterator[None]:
    """Guard `sys.stdout` and `sys.stderr` while the block runs."""
    before = sys.stdout, sys.stderr
    os.environ["PYTHON_COLORS"] = "0"  # argparse's own escapes would be written out, too
    if sys.stdout is not None:
        sys.stdout = PlainStream(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = PlainStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unguarded() -> TextIO:
    """Return the standard output behind the guard, for drawing."""
    return sys.stdout.behind if isinstance(sys.stdout, PlainStream) else cast("TextIO", sys.stdout)
