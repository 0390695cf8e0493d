"""File of an operator that is read again when it changes.

Owns the newest content that can be used. A change that cannot be used is logged, and leaves the content of before in
force. Does not know what the content means.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from konnectivity.runtime import logs

log = logs.get(__name__)

LOOK_INTERVAL_S = 1.0  # least time between two looks at the file

T = TypeVar("T")


class ChangingFile(Generic[T]):
    """File with one content, which is looked at when it is used.

    Args:
        what: name of the content, for the log.
        path: of the file.
        parse: returns the content of the file at a path; raises ValueError if it cannot be used.
        size: returns the number of entries of a content, for the log.
        clock: seconds, monotonic.

    Raises:
        ValueError: the file cannot be used.

    """

    def __init__(
        self,
        what: str,
        path: str,
        parse: Callable[[str], T],
        size: Callable[[T], int],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._changed = f"{what} has changed"
        self._unusable = f"{what} cannot be used, keeping the one of before"
        self._path = path
        self._parse = parse
        self._size = size
        self._clock = clock
        self._stamp = self._stamp_of_file()
        self._looked_at = clock()
        self._content = parse(path)

    def newest(self) -> T:
        """Look at the file, unless it was looked at a moment ago, and return its newest content that can be used."""
        now = self._clock()
        if now - self._looked_at >= LOOK_INTERVAL_S:
            self._looked_at = now
            stamp = self._stamp_of_file()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
        return self._content

    def _read(self) -> None:
        try:
            self._content = self._parse(self._path)
        except ValueError as error:
            log.warning(self._unusable, reason=str(error))
        else:
            log.info(self._changed, file=self._path, entries=self._size(self._content))

    def _stamp_of_file(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
