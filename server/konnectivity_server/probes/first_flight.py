"""Reader of a TLS server's first flight, up to TLS 1.2: its certificate, or the alert with which it refuses. Pure.

Verifies nothing and derives no key. Input is bounded: a flight that is longer, or is no TLS, is an error.
"""

from __future__ import annotations

from konnectivity.untrusted.untrusted_text import visible

MAX_FLIGHT = 64 * 1024  # bytes before the end of the server's certificate
MAX_RECORD = 16_384 + 2048
ALERT, HANDSHAKE = 21, 22
SERVER_HELLO, CERTIFICATE_MESSAGE = 2, 11
OTHER_VERSION = (40, 70)  # alerts of a server that speaks another version, or has no common cipher suite
_SHOWN = 40  # bytes of an answer that is no TLS, in its error


class NotTls(Exception):
    """Answer that is no TLS, or a refusal; `str()` tells which."""


class FirstFlight:
    """First flight of a server: bytes in, certificate out.

    Attributes:
        certificate: certificate of the server in DER; empty if the server spoke TLS and showed none.

    """

    def __init__(self) -> None:
        self.certificate = b""
        self._received = bytearray()
        self._messages = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take bytes of the server; return whether its certificate is complete, or it will show none.

        Raises:
            NotTls: the answer is no TLS, or too long.

        """
        self._received += data
        if len(self._received) + len(self._messages) > MAX_FLIGHT:
            raise NotTls("the certificate is too long")
        while len(self._received) >= 5:
            kind, size = self._received[0], int.from_bytes(self._received[3:5])
            if kind not in (ALERT, HANDSHAKE) or self._received[1] != 3 or size > MAX_RECORD:
                shown = visible(bytes(self._received[:_SHOWN]).decode("latin-1"))
                raise NotTls(f"the answer is no TLS; it begins with {shown!r}")
            if len(self._received) < 5 + size:
                return False
            record = bytes(self._received[5 : 5 + size])
            del self._received[: 5 + size]
            if kind == ALERT:
                return _alert(record)
            self._messages += record
            if self._message():
                return True
        return False

    def _message(self) -> bool:
        """Take the complete handshake messages; return whether the certificate is among them."""
        while len(self._messages) >= 4:
            kind, size = self._messages[0], int.from_bytes(self._messages[1:4])
            if kind not in (SERVER_HELLO, CERTIFICATE_MESSAGE):
                return True  # a server without a certificate
            if len(self._messages) < 4 + size:
                return False
            body = bytes(self._messages[4 : 4 + size])
            del self._messages[: 4 + size]
            if kind == CERTIFICATE_MESSAGE:
                first = int.from_bytes(body[3:6])
                self.certificate = body[6 : 6 + first]
                return True
        return False


def _alert(record: bytes) -> bool:
    """Return True for the alert of a server that speaks TLS, but another version."""
    description = record[1] if len(record) == 2 else 0
    if description in OTHER_VERSION:
        return True
    raise NotTls(f"the target refuses TLS: alert {description}")
