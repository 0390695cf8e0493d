"""The HTTP CONNECT frontend: one request head, one dial, then a relay.

The head is parsed by h11. Answers are written byte for byte as clients of the established server know them
(docs/protocol.md, "HTTP CONNECT").
"""

from __future__ import annotations

import asyncio
import re
from email.utils import formatdate
from typing import cast

import h11

from konnectivity import logs
from konnectivity.errors import NO_DESCRIPTORS, REFUSED_BY_POLICY, DialError, DialFailure
from konnectivity.grpc.peer import peer_of
from konnectivity.grpc.stream import Peer
from konnectivity.link import Link
from konnectivity.relay import Relay, hung_up
from konnectivity_server.dispatch import Dispatcher, Route
from konnectivity_server.limits import ConnectLimits

log = logs.get(__name__)

MAX_EARLY = 64 * 1024  # bytes a client may send behind its CONNECT before it has an answer
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_NOT_CONNECT = b"this proxy only supports CONNECT passthrough\n"
_HOST = re.compile(rb"\r?\nhost[ \t]*:", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"CONNECT +([^ \r\n]+) +HTTP/1\.1\r?\n")
_VERSION = re.compile(rb"[^ \r\n]+ +[^ \r\n]+ +HTTP/(\d+)\.(\d+)\r?\n")


def answer_to(error: DialError) -> bytes:
    """The bytes that tell a CONNECT client why its dial failed."""
    text = str(error).encode()
    match error.failure:
        case DialFailure.NO_AGENT:
            head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n"
            return head + b"currently no tunnels available: " + text
        case DialFailure.TIMEOUT:
            return b"HTTP/1.1 504 Gateway Timeout\r\n" + _TEXT + b"\r\nBackend dial timeout: " + text + b"\r\n"
        case DialFailure.TUNNEL_LOST:
            return b"HTTP/1.1 502 Bad Gateway\r\n" + _TEXT + b"\r\nBackend context error: context canceled\r\n"
        case DialFailure.CLOSED_BY_AGENT:
            return b""
        case DialFailure.ADDRESS:
            status = b"400 Bad Request"
        case DialFailure.BUDGET | DialFailure.FLOOD:
            status = b"503 Service Unavailable"
        case _:
            status = _status_of(str(error))
    return b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + _TEXT + b"\r\n" + text


def _status_of(text: str) -> bytes:
    """HTTP status of an agent's error text."""
    if REFUSED_BY_POLICY in text:
        return b"403 Forbidden"
    lowered = text.lower()
    if "timeout" in lowered or "deadline exceeded" in lowered:
        return b"504 Gateway Timeout"
    if NO_DESCRIPTORS in lowered:
        return b"503 Service Unavailable"
    return b"502 Bad Gateway"


class _BadRequest(Exception):
    """The head is no request we serve; `answer` is what to send, `keep` whether the connection stays open."""

    def __init__(self, answer: bytes, keep: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.keep = keep


class ConnectProtocol(asyncio.Protocol):
    """A client from its first byte to the answer; then its socket belongs to a `Relay`."""

    def __init__(self, dispatcher: Dispatcher, first: bytes = b"", limits: ConnectLimits | None = None) -> None:
        self._limits = limits or ConnectLimits()
        self._refusals = 0
        self._dispatcher = dispatcher
        self._received = bytearray(first)
        self._early = bytearray()
        self._scanned = 0
        self._transport: asyncio.Transport | None = None
        self._dial: Route | None = None
        self._answered = False
        self._served = False  # counted, until a relay counts it
        self._eof_received = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._limits.head_timeout_s, self._head_late)
        if self._received:
            self._head_received()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        if self._dial is not None:
            self._early += data
            if len(self._early) >= MAX_EARLY and self._transport is not None:
                self._transport.pause_reading()
            return
        self._received += data
        self._head_received()

    def eof_received(self) -> bool:
        # A client on a unix socket may have ended only its side, and wait for the answer; any other is gone.
        transport = self._transport
        if self._dial is not None and transport is not None and not hung_up(transport):
            self._eof_received = True
            return True
        self._cancel()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._cancel()
        self._leave()

    # ---- Caller ---------------------------------------------------------------------------------------------------

    def dial_succeeded(self, link: Link) -> None:
        self._dial = None
        transport = self._transport
        if transport is None:
            self._dispatcher.abandoned(link)
            return
        self._answered = True
        transport.write(_ESTABLISHED)  # before the link can deliver anything
        relay = _ClientRelay(self._dispatcher)
        self._served = False
        self._transport = None  # the relay's from now on
        link.endpoint = relay
        relay.adopt(transport)
        relay.attach(link, bytes(self._early), self._eof_received)

    def dial_failed(self, error: DialError) -> None:
        self._dial = None
        self._end(answer_to(error))

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _head_received(self) -> None:
        try:
            while (head := self._take_head()) is not None:
                try:
                    self._start_dial(_target(head))
                    return
                except _BadRequest as bad:
                    if not bad.keep or self._too_many_refusals():
                        raise
                    if self._transport is not None:
                        self._transport.write(bad.answer)
        except _BadRequest as bad:
            self._end(bad.answer)

    def _too_many_refusals(self) -> bool:
        """Whoever asks on and on for what there is not, and does not read the answers, would fill our memory."""
        self._refusals += 1
        if self._refusals < self._limits.refusals:
            return False
        self._limits.reached["connect_refusals"] += 1
        return True

    def _head_late(self) -> None:
        self._limits.reached["connect_head_time"] += 1
        self._end(b"")

    def _take_head(self) -> bytes | None:
        """Cut one request head off what was received; None while it is not complete."""
        received = self._received
        if received and not (received[:1].isalpha() or received[:1] in b"\r\n"):
            raise _BadRequest(_bad_request())  # not HTTP at all: TLS, for one
        end = received.find(b"\n\r\n", max(0, self._scanned - 3))
        if max(end, len(received) if end < 0 else 0) > self._limits.head_bytes:
            self._limits.reached["connect_head"] += 1
            raise _BadRequest(_error(b"431 Request Header Fields Too Large"))
        if end < 0:
            self._scanned = len(received)
            return None
        head = bytes(received[: end + 3])
        del received[: end + 3]
        self._scanned = 0
        return head

    def _start_dial(self, address: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._early += self._received
        self._received.clear()
        origin = peer_of(self._transport) if self._transport is not None else Peer("")
        if log.v(4):
            log.info("Dialing", destination=address, **{"from": origin.name})
        self._served = True
        self._dispatcher.http_connections += 1
        try:
            self._dial = self._dispatcher.dial(address, self, origin)
        except DialError as error:
            self._end(answer_to(error))

    def _leave(self) -> None:
        if self._served:
            self._served = False
            self._dispatcher.http_connections -= 1

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _end(self, answer: bytes) -> None:
        """Answer and close; read on for a moment, so that the answer is not lost to a reset."""
        transport = self._transport
        if transport is None:
            return
        self._answered = True
        self._cancel()
        self._leave()
        if answer:
            transport.write(answer)
        self._transport = None
        relay = Relay()
        relay.adopt(transport)
        relay.close()


class _ClientRelay(Relay):
    """The relay of a CONNECT client, counted for as long as its socket lives."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._dispatcher.http_connections -= 1


def _target(head: bytes) -> str:
    """Destination of a CONNECT head.

    Raises:
        _BadRequest: it is no CONNECT, or no HTTP.
    """
    version = _VERSION.match(head)
    if version is not None and version[1] != b"1":
        raise _BadRequest(_error(b"505 HTTP Version Not Supported"))
    line = _REQUEST_LINE.match(head)
    if line is not None and not _HOST.search(head):
        # h11 insists on Host, which CONNECT may leave out: it would only repeat the target (RFC 9110 section 7.2).
        head = head[: line.end()] + b"Host: " + line[1] + b"\r\n" + head[line.end() :]
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    parser.receive_data(head)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        detail = b": missing required Host header" if "Host" in str(error) and "issing" in str(error) else b""
        raise _BadRequest(_bad_request(detail)) from error
    if not isinstance(request, h11.Request):
        raise _BadRequest(_bad_request())
    if request.method != b"CONNECT":
        keep = not _wants_close(request)
        raise _BadRequest(_not_connect(keep), keep)
    target = request.target.decode("latin-1")
    if target.startswith("/"):
        target = next((value.decode("latin-1") for name, value in request.headers if name == b"host"), "")
    if not target:
        raise _BadRequest(_bad_request())
    return target


def _wants_close(request: h11.Request) -> bool:
    """Whether the connection ends after a refused request: said so, old, or with a body we would have to skip."""
    names = {name for name, _ in request.headers}
    asked = any(name == b"connection" and b"close" in value.lower() for name, value in request.headers)
    return asked or request.http_version != b"1.1" or bool(names & {b"content-length", b"transfer-encoding"})


def _error(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + _TEXT + b"Connection: close\r\n\r\n" + status


def _bad_request(detail: bytes = b"") -> bytes:
    return _error(b"400 Bad Request") + detail


def _not_connect(keep: bool) -> bytes:
    lines = [
        b"HTTP/1.1 405 Method Not Allowed",
        b"Content-Type: text/plain; charset=utf-8",
        b"X-Content-Type-Options: nosniff",
        b"Date: " + formatdate(usegmt=True).encode(),
        b"Content-Length: %d" % len(_NOT_CONNECT),
    ]
    if not keep:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + _NOT_CONNECT
