"""TLS at a listener of several names: the server name that a client asks for decides certificate and authorities.

The context of a name is chosen before TLS begins, from the first bytes of the client, so that no rule of one name ever
holds for another. Owns the bytes of a client until its name is known. Does not know who stands behind a name.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from konnectivity.tls.client_hello import BadClientHello, HelloReader
from konnectivity.tls.handshake import ServerSession
from konnectivity.tls.pem_files import TlsError

_ALERT = bytes((21, 3, 3, 0, 2, 2))  # record with one fatal alert, whose description follows
_UNRECOGNIZED_NAME, _DECODE_ERROR, _INTERNAL_ERROR = 112, 50, 80


class NamedEnd(Protocol):
    """End of the connections of one or more server names."""

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Raises:
            TlsError: there is none that can be used.

        """


Find = Callable[[str], NamedEnd | None]


class NamedSession(ServerSession):
    """TLS connection that begins when the client has named the server that it means.

    Attributes:
        end: the end that the client named; None until then.

    """

    end: NamedEnd | None
    _find: Find | None
    _hello: HelloReader

    @classmethod
    def begin(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, find: Find) -> NamedSession:
        """Return a connection that waits for its first bytes."""
        self = cls.__new__(cls)
        self.end = None
        self._find = find
        self._hello = HelloReader()
        self.watch(incoming, outgoing)
        return self

    def do_handshake(self) -> None:
        """Continue the handshake; until the name is known, ask the event loop for more bytes."""
        if self._find is not None and not self._failed:
            self._read_name(self._find)
        super().do_handshake()

    def _read_name(self, find: Find) -> None:
        incoming, outgoing = self._incoming, self._outgoing
        assert incoming is not None
        assert outgoing is not None
        try:
            name = self._hello.feed(incoming.read())
        except BadClientHello as error:
            self._refuse(_DECODE_ERROR, "BAD_CLIENT_HELLO", str(error))
            return
        if name is None:
            raise ssl.SSLWantReadError
        end = find(name)
        if end is None:
            self._refuse(_UNRECOGNIZED_NAME, "UNKNOWN_SERVER_NAME", name)
            return
        try:
            made = end.context().wrap_bio(incoming, outgoing, server_side=True)
        except TlsError as error:
            self._refuse(_INTERNAL_ERROR, "BAD_CERTIFICATE_FILES", str(error))
            return
        self._sslobj = made._sslobj  # type: ignore[attr-defined]  # all of a session is in this object of C
        incoming.write(self._hello.data)
        self.end, self._find, self._hello = end, None, HelloReader()

    def _refuse(self, alert: int, reason: str, text: str) -> None:
        """End the handshake with an alert."""
        self._find, self._hello = None, HelloReader()
        error = ssl.SSLError(1, text)
        error.reason = reason
        if self._outgoing is not None:
            self._outgoing.write(_ALERT + bytes((alert,)))
        self.fail(error)


class NamedContext(ssl.SSLContext):
    """Context of a listener that begins each connection with the context of the name that the client asks for."""

    _find: Find

    def __new__(cls, find: Find) -> NamedContext:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._find = find
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return NamedSession.begin(incoming, outgoing, self._find)
