"""Transports of the simulated event loop, which behave as those of uvloop: one socket, one protocol, one buffer."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from konnectivity.tls.named_context import NamedContext, NamedSession
from simulation.endpoints import Endpoint, error_of

MAX_READ = 256 * 1024
SHUTDOWN_S = 30.0  # longest wait for the end of the other end's TLS, as in uvloop
LATE_SHARE, LATE_S = 0.1, 0.2  # part of the connections whose process is busy when they are made, and for how long
_HELLO = b"\x16hello"
_NAME = 64  # bytes of the server name in a hello


class TlsSession(NamedSession):
    """TLS of one end: a handshake of one message each way, and an end of its own before FIN. Encrypts nothing.

    Args:
        endpoint: the end.
        context: context of a server, which may know several names; None: this is the client.
        name: server name that the client asks for.

    """

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None, name: str = "") -> None:
        self._endpoint = endpoint
        self._context = context
        self._server = context is not None
        self._hello = _HELLO + name.encode().ljust(_NAME)
        self.end = None

    async def shake_hands(self, loop: Any) -> None:
        """Exchange one message with the other end.

        Raises:
            OSError: the connection broke.

        """
        endpoint = self._endpoint
        if not self._server:
            endpoint.send(self._hello)
        received = b""
        while len(received) < len(self._hello):
            if endpoint.arrived:
                received += endpoint.read(len(self._hello) - len(received))
                continue
            if endpoint.error:
                raise error_of(endpoint.take_error())
            if endpoint.ended or endpoint.gone:
                raise ConnectionResetError(104, "Connection reset by peer")
            woken = loop.create_future()
            endpoint.watcher = lambda news, woken=woken: woken.done() or woken.set_result(None)
            try:
                await woken
            finally:
                endpoint.watcher = None
        if not received.startswith(_HELLO):
            raise ssl.SSLError("wrong version number")
        if isinstance(self._context, NamedContext):
            name = received[len(_HELLO) :].decode().strip()
            self.end = self._context._find(name)
            if self.end is None:
                raise ssl.SSLError(f"unrecognized name {name}")
        if self._server:
            endpoint.send(self._hello)

    def selected_alpn_protocol(self) -> str:
        """Return HTTP/2: the only protocol that the simulated programs speak on TLS."""
        return "h2"

    def getpeercert(self) -> dict[str, Any]:
        """Return a certificate that names nobody."""
        return {}


class StreamTransport(asyncio.Transport):
    """Transport of a connected socket, which it owns."""

    def __init__(self, loop: Any, sock: Any, protocol: Any, session: TlsSession | None) -> None:
        super().__init__()
        self._loop = loop
        self._sock = sock
        self._endpoint: Endpoint = sock.behind
        self._protocol = protocol
        self._session = session
        self._unsent: deque[Any] = deque()
        self._unsent_size = 0
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = False  # the protocol was told to pause
        self._reading = False
        self._read_posted = False
        self._eof_written = False
        self._eof_told = False
        self._closing = False
        self._aborted = False
        self._lost = False
        self._begun = False
        self._shutdown_timer: Any = None  # of a closed end of TLS, which waits for the other one

    def begin(self, connected: Callable[[], object] = lambda: None) -> None:
        """Connect the protocol, at times only when the peer has sent already: the process was busy."""
        chance = self._endpoint.network.chance
        if chance.random() < LATE_SHARE:
            self._loop.call_later(LATE_S * chance.random(), self._begin, connected)
        else:
            self._loop.call_soon(self._begin, connected)

    def _begin(self, connected: Callable[[], object]) -> None:
        if self._lost:
            return  # nobody waits for the connection any more, so the protocol never hears of it, as in uvloop
        self._begun = True
        self._endpoint.watcher = self._news
        self._protocol.connection_made(self)
        if not self._closing:
            self._reading = True  # as uvloop: whatever `connection_made` did
            self._post_read()
        connected()
        if self._endpoint.error:
            self._news("broken")

    # ---- asyncio.Transport ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "socket":
                return self._sock
            case "peername":
                return self._endpoint.peer_address
            case "sockname":
                return self._endpoint.address
            case "ssl_object" | "sslcontext":
                return self._session
        return default

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True
            self._post_read()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._pause_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._unsent_size

    def write(self, data: Any) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._closing:
            return
        self._unsent.append(bytes(data))
        self._unsent_size += len(data)
        self._send()
        self._pause_if_full()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self._session is None

    def write_eof(self) -> None:
        if self._session is not None:
            raise NotImplementedError
        if not self._eof_written:
            self._eof_written = True
            self._send()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._reading = False
            if not self._unsent_size:
                self._shut()

    def abort(self) -> None:
        if not self._lost:
            self._closing = self._aborted = True
            self._loop.call_soon(self._lose, None)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _news(self, news: str) -> None:
        if self._lost:
            return
        if self._shutdown_timer is not None:
            self._await_end()
        elif news == "writable":
            self._send()
        elif news == "readable":
            self._post_read()
        elif self._reading:
            self._post_read()  # what arrived before the loss is read first
        elif self._unsent or self._closing:
            self._fail()
        # Otherwise nothing watches the socket: the loss is noticed by the next read or write.

    def _shut(self) -> None:
        """Close a socket that has sent everything; TLS says so, and waits until the other end has said so, too."""
        if self._session is None or self._eof_told:
            self._loop.call_soon(self._lose, None)
        elif self._shutdown_timer is None:
            self._endpoint.finish(tidy=True)
            self._shutdown_timer = self._loop.call_later(SHUTDOWN_S, self.abort)
            self._await_end()

    def _await_end(self) -> None:
        """Drop what still arrives at a closed end of TLS, and close its socket when the other end has ended."""
        while self._endpoint.arrived:
            self._endpoint.read(MAX_READ)
        if self._endpoint.ended or self._endpoint.error or self._endpoint.gone:
            self._loop.call_soon(self._lose, None)

    def _fail(self) -> None:
        self._closing = self._aborted = True
        self._lose(error_of(self._endpoint.take_error() or 104))

    def _send(self) -> None:
        while self._unsent:
            piece = self._unsent[0]
            sent = self._endpoint.send(piece)
            if self._endpoint.error:
                self._loop.call_soon(self._fail)
                return
            self._unsent_size -= sent
            if sent < len(piece):
                self._unsent[0] = piece[sent:]
                break
            self._unsent.popleft()
        if self._paused and self._unsent_size <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if not self._unsent_size:
            if self._closing:
                self._shut()
            elif self._eof_written:
                self._endpoint.finish()

    def _pause_if_full(self) -> None:
        if not self._paused and self._unsent_size > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def _post_read(self) -> None:
        endpoint = self._endpoint
        ended = endpoint.ended and not self._eof_told
        if self._reading and not self._read_posted and (endpoint.arrived or ended or endpoint.error):
            self._read_posted = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._read_posted = False
        endpoint = self._endpoint
        if not self._reading or self._lost:
            return
        if endpoint.arrived:
            self._deliver(endpoint)
        elif endpoint.error:
            self._fail()
            return
        elif endpoint.ended and not self._eof_told:
            self._tell_eof()
            return
        self._post_read()

    def _deliver(self, endpoint: Endpoint) -> None:
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            buffer = self._protocol.get_buffer(-1)
            piece = endpoint.read(len(buffer))
            buffer[: len(piece)] = piece
            self._protocol.buffer_updated(len(piece))
        else:
            self._protocol.data_received(endpoint.read(MAX_READ))

    def _tell_eof(self) -> None:
        self._eof_told = True
        if self._session is not None and not self._endpoint.tidy:
            self._closing = True
            self._lose(_truncation())
            return
        if not self._protocol.eof_received() or self._session is not None:
            self.close()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._reading = False
        if self._shutdown_timer is not None:
            self._shutdown_timer.cancel()
        self._unsent.clear()
        self._unsent_size = 0
        if self._session is not None and error is None and not self._aborted:
            self._endpoint.finish(tidy=True)
        try:
            if self._begun:
                self._protocol.connection_lost(error)
        finally:
            self._sock.close()


def _truncation() -> ssl.SSLEOFError:
    """Return the error of a connection that ended without the end of its TLS."""
    error = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    error.library, error.reason = "SSL", "UNEXPECTED_EOF_WHILE_READING"
    return error
