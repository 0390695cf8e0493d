"""Server name in a TLS ClientHello (RFC 8446, RFC 6066), read before TLS begins. Pure.

Reads the first handshake message of a client, which may be cut into records and bytes at any place, within a bound.
Verifies nothing else: TLS itself reads the same bytes again.
"""

from __future__ import annotations

MAX_HELLO = 18 * 1024  # bytes of the message and of its records' headers
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_MAX_RECORD = 1 << 14
_SERVER_NAME, _HOST_NAME = 0, 0


class BadClientHello(ValueError):
    """Bytes that are no ClientHello; the text says why, and repeats none of the bytes."""


def server_name(data: bytes) -> str | None:
    """Return the server name that a client asks for; empty if it asks for none; None if more bytes are needed.

    Raises:
        BadClientHello: the bytes are no ClientHello, or it is too long.

    """
    message = _message(data)
    if message is None:
        if len(data) > MAX_HELLO:
            raise BadClientHello(f"the ClientHello is longer than {MAX_HELLO} bytes")
        return None
    try:
        return _name(_HelloFields(message))
    except (IndexError, UnicodeDecodeError) as error:
        raise BadClientHello("the ClientHello is malformed") from error


def _message(data: bytes) -> bytes | None:
    """Return the body of the ClientHello, or None if more bytes are needed."""
    found, at = b"", 0
    while len(data) >= at + 5 or (at == 0 and data):
        if data[at] != _HANDSHAKE or (len(data) > at + 1 and data[at + 1] != 3):
            raise BadClientHello("it does not speak TLS")
        if len(data) < at + 5:
            return None
        size = int.from_bytes(data[at + 3 : at + 5])
        if not 0 < size <= _MAX_RECORD:
            raise BadClientHello("it does not speak TLS")
        if not found and data[at + 5 : at + 6] not in (b"", bytes((_CLIENT_HELLO,))):
            raise BadClientHello("its first message is no ClientHello")
        if len(data) < at + 5 + size:
            return None
        found += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(found) >= 4 and len(found) >= (end := 4 + int.from_bytes(found[1:4])):
            return found[4:end]
    return None


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
