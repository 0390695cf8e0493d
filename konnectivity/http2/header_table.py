"""Static and dynamic table of HPACK (RFC 7541 section 2.3, appendix A). Pure.

Owns the entries that one peer added, and their size. Does not know header blocks.
"""

from __future__ import annotations

from collections import deque

Field = tuple[bytes, bytes]

TABLE_SIZE = 4096  # first size of the dynamic table
ENTRY_OVERHEAD = 32  # bytes that each entry counts in addition to its name and value (section 4.1)

STATIC: tuple[Field, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)


class HeaderTable:
    """Table of one direction of a connection: the static entries, and the dynamic ones, the newest first."""

    __slots__ = ("_dynamic", "_most", "_size")

    def __init__(self) -> None:
        self._dynamic: deque[Field] = deque()
        self._size = 0
        self._most = TABLE_SIZE

    def field(self, index: int) -> Field:
        """Return the entry of an index.

        Raises:
            IndexError: there is none.

        """
        if index <= 0:
            raise IndexError(index)
        if index <= len(STATIC):
            return STATIC[index - 1]
        return self._dynamic[index - len(STATIC) - 1]

    def add(self, name: bytes, value: bytes) -> None:
        """Add an entry, for which old ones make place; one that is too large leaves the table empty."""
        self._dynamic.appendleft((name, value))
        self._size += len(name) + len(value) + ENTRY_OVERHEAD
        self._evict()

    def resize(self, most: int) -> None:
        """Change the largest size of the dynamic table."""
        self._most = most
        self._evict()

    def copy(self) -> HeaderTable:
        """Return a table with the same entries."""
        made = HeaderTable()
        made._dynamic, made._size, made._most = self._dynamic.copy(), self._size, self._most
        return made

    def _evict(self) -> None:
        while self._size > self._most:
            name, value = self._dynamic.pop()
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD
