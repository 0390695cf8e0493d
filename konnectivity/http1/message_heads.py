"""Heads of HTTP/1 messages, cut off a stream of bytes in linear time and bounded memory. Pure.

Lines may end with CRLF or with a lone LF (RFC 9112 section 2.2). Owns the bytes received so far and the limits of a
head. Does not know what a request's head asks for, nor what headers mean.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

MAX_LINES = 1000  # lines of one head; h11 needs about 10 microseconds per line
_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"[!-~]+ +[^ \r\n]+ +HTTP/\d+\.\d+\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})(?: ([^\r\n]*))?\r?\n")


class HeadFault(Enum):
    """Reason why a head is refused."""

    NOT_HTTP = auto()
    TOO_LARGE = auto()


class HeadError(Exception):
    """Refusal of bytes that are no head of an HTTP/1 message, or of a head over a limit."""

    def __init__(self, fault: HeadFault) -> None:
        super().__init__(fault)
        self.fault = fault


class StatusLine(NamedTuple):
    """Status and reason phrase of a response."""

    status: int
    reason: str


def status_line_of(head: bytes) -> StatusLine | None:
    """Return the status line of a response's head, or None if the head has none."""
    found = _STATUS_LINE.match(head)
    return None if found is None else StatusLine(int(found[1]), (found[2] or b"").decode("latin-1"))


class Heads:
    """Received bytes of a client, cut into heads of requests.

    Args:
        most: maximum bytes of one head.
        first: bytes that were received before.
        most_lines: maximum lines of one head.

    """

    _first_line = _REQUEST_LINE

    __slots__ = ("_line_is_good", "_most", "_most_lines", "_received", "_scanned")

    def __init__(self, most: int, first: bytes = b"", most_lines: int = MAX_LINES) -> None:
        self._most = most
        self._most_lines = most_lines
        self._received = bytearray(first)
        self._scanned = 0  # bytes at the beginning that hold no end of a head
        self._line_is_good = False

    def __len__(self) -> int:
        """Return the number of bytes that are not taken yet."""
        return len(self._received)

    def feed(self, data: bytes | memoryview) -> None:
        """Append received bytes."""
        self._received += data

    def take(self) -> bytes | None:
        """Remove and return the next head with its last line end, or return None while it is incomplete.

        Raises:
            HeadError: the first line is not that of an HTTP message, or the head is too large.

        """
        received = self._received
        if not received:
            return None
        self._check_line()
        end = _END.search(received, max(0, self._scanned - 2))
        size = end.end() if end else len(received)
        if size > self._most or (end and received.count(b"\n", 0, size) > self._most_lines):
            raise HeadError(HeadFault.TOO_LARGE)
        if not end:
            self._scanned = size
            return None
        head = bytes(received[:size])
        del received[:size]
        self._scanned = 0
        self._line_is_good = False
        return head

    def rest(self) -> bytes:
        """Remove and return all bytes that are not taken yet."""
        rest = bytes(self._received)
        self._received.clear()
        self._scanned = 0
        return rest

    def _check_line(self) -> None:
        """Refuse bytes that are not HTTP as soon as their first byte, or their first line, has been received."""
        received = self._received
        if self._line_is_good:
            return
        if not self._begins_well(received):
            raise HeadError(HeadFault.NOT_HTTP)
        if received.find(b"\n", self._scanned) >= 0:
            if not self._first_line.match(received):
                raise HeadError(HeadFault.NOT_HTTP)
            self._line_is_good = True

    def _begins_well(self, received: bytearray) -> bool:
        """Return whether the bytes, at least one, may be the beginning of a first line."""
        return received[:1].isalpha()


class ResponseHeads(Heads):
    """Received bytes of a server, cut into heads of responses. Arguments are those of `Heads`."""

    _first_line = _STATUS_LINE

    __slots__ = ()

    def _begins_well(self, received: bytearray) -> bool:
        return received.startswith(b"HTTP/1."[: len(received)])
