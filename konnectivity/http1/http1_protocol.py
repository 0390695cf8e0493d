"""Connection of a health or admin port: reads heads of requests, parsed by h11, and writes responses.

Reads 16 KiB at a time, and stops reading while a received request has no response yet. Parses and responds only when
the scheduler calls. A connection over a limit gets a status, if possible, and is closed. Does not know the paths.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import cast
from urllib.parse import unquote

import h11

from konnectivity.http1.connection_limit import ConnectionLimit, Stage
from konnectivity.http1.handlers import Later, Request, Response, Routes, text
from konnectivity.http1.message_heads import HeadError, HeadFault, Heads
from konnectivity.http1.request_scheduler import RequestScheduler
from konnectivity.net import read_buffer
from konnectivity.runtime import task_guard

READ_SIZE = 16 * 1024
MAX_HEAD = 16 * 1024
MAX_FIELDS = 100  # lines of a head
_FAILED = text("internal error\n", 500)


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Deadlines of a connection, in seconds.

    Attributes:
        request_s: from the first byte of a request, or the start of the connection, to the request's last byte.
        response_s: for a client to read its response.
        idle_s: between two requests.
        fresh_s: after which a new connection that has sent nothing counts as silent.
        linger_s: for a client that still sends to read its last response.

    """

    request_s: float = 10.0
    response_s: float = 30.0
    idle_s: float = 180.0
    fresh_s: float = 0.2
    linger_s: float = 1.0


class HttpProtocol(asyncio.BufferedProtocol):
    """Connection to a health or admin port.

    Args:
        routes: path -> handler.
        connections: limit of the listener.
        scheduler: scheduler of the listener.
        timeouts: deadlines of the connection.

    """

    def __init__(
        self, routes: Routes, connections: ConnectionLimit, scheduler: RequestScheduler, timeouts: HttpTimeouts
    ) -> None:
        self.source = ""
        self.since = monotonic()
        self._routes = routes
        self._connections = connections
        self._scheduler = scheduler
        self._timeouts = timeouts
        self._buffer = read_buffer.buffer()[:READ_SIZE]
        self._heads = Heads(MAX_HEAD, most_lines=MAX_FIELDS)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD)
        self._has_body = False  # whether the request has a body, which no handler reads
        self._arrived = 0.0
        self._answered = False
        self._waiting = False  # whether the scheduler has this connection queued
        self._blocked = False  # the client does not read its responses
        self._pending: Later | None = None  # response that a handler makes later
        self._dropping = False  # received bytes, since the connection ends
        self._eof = False
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.source = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        if self._connections.add(self):
            self._arm(self._timeouts.request_s)
        else:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._dropping or self._transport is None:
            return
        self._arrived = monotonic()
        if not (self._heads or self._waiting or self._pending or self._blocked):
            self._since_now()
            self._arm(self._timeouts.request_s)
        self._heads.feed(self._buffer[:nbytes])
        if self._waiting or self._pending or self._blocked:
            self._transport.pause_reading()
        else:
            self._ask()

    def eof_received(self) -> bool:
        self._eof = True
        return self._waiting  # the response to a received request is written first

    def pause_writing(self) -> None:
        self._blocked = True
        self._since_now()
        self._arm(self._timeouts.response_s)
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._transport is not None and not self._transport.is_closing():
            self._arm(self._timeouts.idle_s)
            self._continue()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.remove(self)
        if self._pending is not None:
            self._pending.cancel()
        if self._timer is not None:
            self._timer.cancel()

    # ---- for the server -------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """Progress of the connection, for the choice of the one that is closed for another."""
        if self._eof:  # the client has nearly always closed, not only its sending side
            return Stage.IDLE
        if not self._answered and not self._heads and monotonic() - self.since < self._timeouts.fresh_s:
            return Stage.FRESH
        if self._waiting or self._pending is not None:
            return Stage.BUSY if self._answered else Stage.FIRST
        idle = self._answered and not self._blocked and not self._heads
        return Stage.IDLE if idle else Stage.SILENT

    def close(self) -> None:
        """End the connection after its pending output, or when the client does not read that in time."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._arm(self._timeouts.response_s)

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _arm(self, timeout_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(timeout_s, self._expired)

    def _expired(self) -> None:
        if self.stage is not Stage.IDLE and not self._dropping:
            self._connections.reached["health_time"] += 1
        self.abort()

    def _since_now(self) -> None:
        self.since = monotonic()

    def _ask(self) -> None:
        """Queue the next request with the scheduler."""
        self._waiting = True
        self._since_now()
        self._scheduler.ask(self.source, self._turn)

    def _turn(self) -> None:
        self._waiting = False
        if self._transport is None or self._transport.is_closing():
            return
        try:
            answered = self._step()
        except HeadError as error:
            if error.fault is HeadFault.TOO_LARGE:
                self._connections.reached["health_head"] += 1
            self._refuse(400 if error.fault is HeadFault.NOT_HTTP else 431)
            return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)
            return
        except Exception as error:
            task_guard.record("answer", error)
            self.abort()
            return
        if self._pending is None:
            (self._continue if answered else self._read_on)()

    def _continue(self) -> None:
        """Queue the next request if its bytes are received, else read on."""
        if self._heads and not (self._blocked or self._dropping):
            self._ask()
        else:
            self._read_on()

    def _read_on(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._blocked or self._dropping:
            return
        if self._eof:
            self.close()
        else:
            transport.resume_reading()

    def _step(self) -> bool:
        """Answer one request if its head is complete. Return False if more bytes are needed."""
        head = self._heads.take()
        if head is None:
            return False
        self._http.receive_data(head)
        request = self._http.next_event()
        assert isinstance(request, h11.Request)
        self._has_body = not isinstance(self._http.next_event(), h11.EndOfMessage)
        self._answer(request)
        return True

    def _answer(self, request: h11.Request) -> None:
        response = self._response_to(request)
        if isinstance(response, Response):
            self._complete(request, response)
            return
        self._pending = response
        if self._timer is not None:
            self._timer.cancel()  # the handler bounds its own time
        if not self._heads and self._transport is not None:
            self._transport.resume_reading()  # to notice that the client leaves
        response.add_done_callback(self._finisher(request))

    def _finisher(self, request: h11.Request) -> Callable[[Later], None]:
        return lambda future: self._finish(request, future)

    def _finish(self, request: h11.Request, future: Later) -> None:
        began = monotonic()
        try:
            self._write_later(request, future)
        finally:
            self._scheduler.spent(monotonic() - began)

    def _write_later(self, request: h11.Request, future: Later) -> None:
        """Write the response of a handler that made it later."""
        self._pending = None
        if self._transport is None or future.cancelled():
            return
        if error := future.exception():
            task_guard.record("answer", error, request.target.decode("ascii"))
        response = None if error else future.result()
        try:
            self._complete(request, response or _FAILED)
        except Exception as failure:
            task_guard.record("answer", failure, request.target.decode("ascii"))
            self.abort()
            return
        self._continue()

    def _complete(self, request: h11.Request, response: Response) -> None:
        self._answered = True
        self._since_now()
        self._respond(response, request.method)
        if self._has_body:
            self._linger()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            if not self._blocked:
                self._arm(self._timeouts.idle_s)
        else:
            self.close()

    def _response_to(self, request: h11.Request) -> Response | Later:
        if request.method == b"CONNECT":  # after the head of a 200, the client would send another protocol
            return text("this port is no proxy\n", 405)
        path, _, query = _origin_form(request.target.decode("ascii")).partition("?")
        handler = self._routes.get(unquote(path))
        if handler is None:
            return text("404 page not found\n", 404)
        method, headers = request.method.decode("ascii"), _joined(request.headers)
        try:
            return handler(Request(method, path, query, headers, self._arrived, self.source))
        except Exception as error:
            task_guard.record("answer", error, path)
            return _FAILED

    def _refuse(self, status: int) -> None:
        """Answer bad input, unless a response has begun, and close."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = text(f"{status} {HTTPStatus(status).phrase}\n", status)
            self._respond(answer._replace(headers={**answer.headers, "Connection": "close"}))
        self._linger()

    def _linger(self) -> None:
        """Close after dropping input for a moment, so that no reset destroys the last response."""
        self._dropping = True
        self._heads.rest()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._eof:
            self.close()
            return
        transport.write_eof()
        transport.resume_reading()
        self._arm(self._timeouts.linger_s)

    def _respond(self, response: Response, method: bytes = b"GET") -> None:
        headers = [
            *response.headers.items(),
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
        ]
        if self._has_body:
            headers.append(("Connection", "close"))
        if response.status != HTTPStatus.NOT_MODIFIED:
            headers.append(("Content-Length", str(len(response.body))))
        reason = HTTPStatus(response.status).phrase
        self._send(h11.Response(status_code=response.status, headers=headers, reason=reason))
        if method != b"HEAD" and response.body:
            self._send(h11.Data(data=response.body))
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> None:
        for data in self._http.send_with_data_passthrough(event) or ():
            if self._transport is not None and data:
                self._transport.write(data)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; the values of one that is repeated are joined (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _origin_form(target: str) -> str:
    """Return path and query of a request target, which may be a whole URL."""
    if target.startswith("/") or "://" not in target:
        return target
    return "/" + target.partition("://")[2].partition("/")[2]
