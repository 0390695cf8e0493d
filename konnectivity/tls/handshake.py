"""Server side of TLS sessions: a failed handshake sends its alert and is reported.

asyncio and uvloop drop what OpenSSL has written when a handshake fails, and with it the alert that tells the peer why.
To an event loop `ServerSession` presents the failure as "more bytes are needed": the loop then sends the alert and
continues to read. The connection ends when the peer or the receiver of `on_failure` closes it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextvars import ContextVar

OnFailure = Callable[[ssl.SSLError], object]

# Called for handshakes that begin in this context and fail. asyncio does not pass the connection to `wrap_bio`.
on_failure: ContextVar[OnFailure | None] = ContextVar("on_failure", default=None)

_MORE = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError)


class ServerSession(ssl.SSLObject):
    """TLS connection of a listener. After the handshake it adds nothing to `SSLObject`."""

    _incoming: ssl.MemoryBIO | None = None
    _outgoing: ssl.MemoryBIO | None = None
    _on_failure: OnFailure | None = None
    _failed = False

    def watch(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        """Deliver the alert of a failed handshake, and report it to `on_failure` of the current context."""
        self._incoming, self._outgoing = incoming, outgoing
        self._on_failure = on_failure.get()

    def do_handshake(self) -> None:
        """Continue the handshake; after its failure, ask the event loop for more bytes."""
        if not self._failed:
            try:
                super().do_handshake()
            except _MORE:
                raise
            except ssl.SSLError as error:
                self.fail(error)
                if not self._failed:
                    raise  # the handshake has no alert to deliver
            else:
                self._incoming = self._outgoing = self._on_failure = None
        if self._failed and self._incoming is not None:
            self._incoming.read()  # bytes that the peer still sends are dropped
            raise ssl.SSLWantReadError  # the event loop sends the alert

    def fail(self, error: ssl.SSLError) -> None:
        """Report the failure of the handshake; its alert, if there is one, is delivered."""
        self._failed = self._outgoing is not None and bool(self._outgoing.pending)
        on_failure, self._on_failure = self._on_failure, None
        if on_failure is not None:
            on_failure(error)
