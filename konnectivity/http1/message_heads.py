"""Heads of HTTP/1 requests, cut off a stream of bytes in linear time and bounded memory. Pure.

Lines may end with CRLF or with a lone LF (RFC 9112 section 2.2). What a head says is its reader's business (h11's).
"""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_LINES = 1000  # of one head; h11 takes about 10 microseconds for each
_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"[!-~]+ +[^ \r\n]+ +HTTP/\d+\.\d+\r?\n")


class HeadFault(Enum):
    """Reason why a request head is refused."""

    NOT_HTTP = auto()
    TOO_LARGE = auto()


class HeadError(Exception):
    """Bytes that are no head of a request, or a head over a limit."""

    def __init__(self, fault: HeadFault) -> None:
        super().__init__(fault)
        self.fault = fault


class Heads:
    """Bytes that a client sent, and the heads among them.

    Args:
        most: bytes of one head.
        first: bytes that were received before.
        most_lines: lines of one head.

    """

    __slots__ = ("_line_is_good", "_most", "_most_lines", "_received", "_scanned")

    def __init__(self, most: int, first: bytes = b"", most_lines: int = MAX_LINES) -> None:
        self._most = most
        self._most_lines = most_lines
        self._received = bytearray(first)
        self._scanned = 0  # bytes at the beginning that hold no end of a head
        self._line_is_good = False

    def __len__(self) -> int:
        """Return the number of bytes that are held."""
        return len(self._received)

    def feed(self, data: bytes | memoryview) -> None:
        """Append bytes that were received."""
        self._received += data

    def take(self) -> bytes | None:
        """Remove the next head and return it with its last line end, or return None while it is not whole.

        Raises:
            HeadError: the bytes are no HTTP request, which their first line shows, or the head is too large.

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
        """Remove and return all bytes that are held."""
        rest = bytes(self._received)
        self._received.clear()
        self._scanned = 0
        return rest

    def _check_line(self) -> None:
        """Refuse what is no HTTP as soon as its first byte, or its first line, is here."""
        received = self._received
        if self._line_is_good:
            return
        if not received[:1].isalpha():
            raise HeadError(HeadFault.NOT_HTTP)
        if received.find(b"\n", self._scanned) >= 0:
            if not _REQUEST_LINE.match(received):
                raise HeadError(HeadFault.NOT_HTTP)
            self._line_is_good = True
