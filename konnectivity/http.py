"""A small HTTP/1.1 responder for health and admin ports: exact paths, small answers, keep-alive. Parsing is h11's.

Owns its listeners and their connections. Knows no path; a handler is called with a `Request` and returns a `Response`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import parse_qsl, unquote

import h11

from konnectivity import logs, task_guard
from konnectivity.listen import ListenError, listen_tcp, listen_unix

log = logs.get(__name__)

MAX_HEAD = 1024 * 1024
MAX_BODY = 1024 * 1024  # read and dropped: no handler wants one
REQUEST_TIMEOUT_S = 60.0  # a request, from its first byte to its last; an answer that the client does not take
IDLE_TIMEOUT_S = 180.0  # between two requests
PLAIN = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """What a handler may look at."""

    method: str
    path: str
    query: str
    host: str  # the Host header
    known: str = ""  # If-None-Match: what the client has

    def asks(self, key: str) -> bool:
        """Whether the query has this key, with a value or without."""
        return any(part.partition("=")[0] == key for part in self.query.split("&"))

    def value(self, key: str, default: str = "") -> str:
        """The first value of a key of the query."""
        return next((value for name, value in parse_qsl(self.query) if name == key), default)


class Response(NamedTuple):
    """An answer. `Date` and `Content-Length` are added."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Later = asyncio.Future["Response | None"]  # None: the work raised an exception, which is recorded
Handler = Callable[[Request], "Response | Later"]
Routes = Mapping[str, Handler]


def text(body: str, status: int = 200) -> Response:
    """An answer of plain text."""
    return Response(status, {"Content-Type": PLAIN, "X-Content-Type-Options": "nosniff"}, body.encode())


_FAILED = text("internal error\n", 500)


class HttpServer:
    """Listeners with their routes, and every connection they took."""

    def __init__(self) -> None:
        self._listeners: list[asyncio.Server] = []
        self._connections: set[HttpProtocol] = set()
        self._on_close: list[Callable[[], object]] = []

    async def listen(self, what: str, host: str, port: int, routes: Routes) -> None:
        """Serve `routes`. Port 0: not at all. A port that cannot be had is logged: the tunnel goes on without it."""
        if not port:
            return
        try:
            listener = await listen_tcp(what, host, port, None, lambda: HttpProtocol(routes, self._connections))
        except ListenError as error:
            log.error("Listener failed, going on without it", reason=str(error))
            return
        self._listeners.append(listener)
        log.info("Listening", purpose=what, address=f"{host or '*'}:{port}")

    async def listen_unix(self, what: str, path: str, routes: Routes) -> None:
        """Serve `routes` on a unix socket."""
        protocol = functools.partial(HttpProtocol, routes, self._connections)
        self._listeners.append(await listen_unix(what, path, True, protocol))

    def on_close(self, callback: Callable[[], object]) -> None:
        """Something of a handler's to end with the server."""
        self._on_close.append(callback)

    def close(self) -> None:
        for callback in self._on_close:
            callback()
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.close()


class HttpProtocol(asyncio.Protocol):
    """One connection. It stands in `connections` for as long as it lives."""

    def __init__(self, routes: Routes, connections: set[HttpProtocol]) -> None:
        self._routes = routes
        self._connections = connections
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._request: h11.Request | None = None
        self._body_size = 0
        self._blocked = False  # the client does not take its answers
        self._pending: Later | None = None  # an answer that takes a while
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._arm(REQUEST_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
            self._arm(REQUEST_TIMEOUT_S)
        self._http.receive_data(data)
        if self._pending is None:
            self._advance()

    def pause_writing(self) -> None:
        self._blocked = True
        self._arm(REQUEST_TIMEOUT_S)
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._transport is not None and not self._transport.is_closing():
            self._arm(IDLE_TIMEOUT_S)
            self._transport.resume_reading()
            self._loop.call_soon(self._advance)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        if self._pending is not None:
            self._pending.cancel()
        if self._timer is not None:
            self._timer.cancel()

    # ---- for the server -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection behind what was written; at once if nobody takes that in time."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._arm(REQUEST_TIMEOUT_S)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _arm(self, timeout_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(timeout_s, self._expired)

    def _expired(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Take what h11 has understood, until it needs more."""
        while self._transport is not None and not (self._transport.is_closing() or self._blocked or self._pending):
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            self._event(event)

    def _event(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request, self._body_size = event, 0
        elif isinstance(event, h11.Data):
            self._body_size += len(event.data)
            if self._body_size > MAX_BODY:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            self._answer(self._request)
        elif isinstance(event, h11.ConnectionClosed):
            self.close()

    def _answer(self, request: h11.Request) -> None:
        response = self._response_to(request)
        if isinstance(response, Response):
            self._complete(request, response)
            return
        self._pending = response
        if self._timer is not None:
            self._timer.cancel()  # the handler bounds its own time
        response.add_done_callback(lambda future: self._finish(request, future))

    def _finish(self, request: h11.Request, future: Later) -> None:
        self._pending = None
        if self._transport is None or future.cancelled():
            return
        if error := future.exception():
            task_guard.record("answer", error, request.target.decode("ascii"))
        response = None if error else future.result()
        self._complete(request, response or _FAILED)
        self._loop.call_soon(self._advance)

    def _complete(self, request: h11.Request, response: Response) -> None:
        self._respond(response, request.method)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            if not self._blocked:
                self._arm(IDLE_TIMEOUT_S)
        else:
            self.close()

    def _response_to(self, request: h11.Request) -> Response | Later:
        path, _, query = _origin_form(request.target.decode("ascii")).partition("?")
        handler = self._routes.get(unquote(path))
        if handler is None:
            return text("404 page not found\n", 404)
        host, known = (_header(request, name) for name in (b"host", b"if-none-match"))
        try:
            return handler(Request(request.method.decode("ascii"), path, query, host, known))
        except Exception as error:
            task_guard.record("answer", error, path)
            return _FAILED

    def _refuse(self, status: int) -> None:
        """Answer bad input, if there is no answer yet, and close."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = text(f"{status} {HTTPStatus(status).phrase}\n", status)
            self._respond(answer._replace(headers={**answer.headers, "Connection": "close"}))
        self.close()

    def _respond(self, response: Response, method: bytes = b"GET") -> None:
        headers = [
            *response.headers.items(),
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
        ]
        if response.status != HTTPStatus.NOT_MODIFIED:
            headers.append(("Content-Length", str(len(response.body))))
        reason = HTTPStatus(response.status).phrase
        self._send(
            h11.Response(status_code=response.status, headers=headers, reason=reason),
            *([h11.Data(data=response.body)] if method != b"HEAD" else []),
            h11.EndOfMessage(),
        )

    def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if self._transport is not None:
            self._transport.write(data)


def _header(request: h11.Request, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in request.headers if name == wanted), "")


def _origin_form(target: str) -> str:
    """Path and query of a request target that may be a whole URL."""
    if target.startswith("/") or "://" not in target:
        return target
    return "/" + target.partition("://")[2].partition("/")[2]
