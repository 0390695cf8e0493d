"""Server name in a TLS ClientHello (RFC 8446, RFC 6066), read before TLS begins. Pure.

Reads the first handshake message of a client, which may be cut into records and bytes at any place, within a bound and
each byte once. Verifies nothing else: TLS itself reads the same bytes again.
"""

from __future__ import annotations

MAX_HELLO = 18 * 1024  # bytes of the message and of its records' headers
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4  # bytes
_MAX_RECORD = 1 << 14
_SERVER_NAME, _HOST_NAME = 0, 0


class BadClientHello(ValueError):
    """Bytes that are no ClientHello; the text says why, and repeats none of the bytes."""


class HelloReader:
    """ClientHello that is being received.

    Attributes:
        data: the bytes that were received.

    """

    __slots__ = ("_at", "_message", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._at = 0  # bytes of `data` in complete records
        self._message = bytearray()  # content of the complete records

    def feed(self, data: bytes) -> str | None:
        """Take the next bytes of the client.

        Returns:
            The server name that the client asks for; empty: it asks for none; None: more bytes are needed.

        Raises:
            BadClientHello: the bytes are no ClientHello, or it is too long.

        """
        self.data += data
        if not self._complete():
            if len(self.data) > MAX_HELLO:
                raise BadClientHello(f"the ClientHello is longer than {MAX_HELLO} bytes")
            return None
        try:
            return _name(_HelloFields(bytes(self._message[_MESSAGE_HEAD : self._size])))
        except (IndexError, UnicodeDecodeError) as error:
            raise BadClientHello("the ClientHello is malformed") from error

    @property
    def _size(self) -> int:
        """Return the size of the message with its head, which is complete."""
        return _MESSAGE_HEAD + int.from_bytes(self._message[1:_MESSAGE_HEAD])

    def _complete(self) -> bool:
        """Take the records that have arrived, and return whether the message is complete."""
        while self._take_record():
            if len(self._message) >= _MESSAGE_HEAD and len(self._message) >= self._size:
                return True
        return False

    def _take_record(self) -> bool:
        head = bytes(self.data[self._at : self._at + _RECORD_HEAD + 1])  # and the first byte of the content
        if head[:1] not in (b"", bytes((_HANDSHAKE,))) or head[1:2] not in (b"", b"\x03"):
            raise BadClientHello("it does not speak TLS")
        if len(head) < _RECORD_HEAD:
            return False
        size = int.from_bytes(head[3:_RECORD_HEAD])
        if not 0 < size <= _MAX_RECORD:
            raise BadClientHello("it does not speak TLS")
        if not self._message and head[_RECORD_HEAD:] not in (b"", bytes((_CLIENT_HELLO,))):
            raise BadClientHello("its first message is no ClientHello")
        end = self._at + _RECORD_HEAD + size
        if len(self.data) < end:
            return False
        self._message += self.data[self._at + _RECORD_HEAD : end]
        self._at = end
        return True


class _HelloFields:
    """Reader of fields with a length before them. Each raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise IndexError
        part = self._data[self._at : end]
        self._at = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def sized(self, size_of_length: int) -> bytes:
        return self.take(self.number(size_of_length))


def _name(hello: _HelloFields) -> str:
    hello.take(2 + 32)  # version, random
    hello.sized(1)  # session id
    hello.sized(2)  # cipher suites
    hello.sized(1)  # compression methods
    if hello.ended:
        return ""
    extensions = _HelloFields(hello.sized(2))
    while not extensions.ended:
        kind, content = extensions.number(2), extensions.sized(2)
        if kind == _SERVER_NAME:
            names = _HelloFields(_HelloFields(content).sized(2))
            return names.sized(2).decode("ascii") if names.number(1) == _HOST_NAME else ""
    return ""
