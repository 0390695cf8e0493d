"""Requests, responses and handlers of the health and admin ports.

A handler is called with a `Request` and returns a `Response`, or a future of one. Knows neither connections nor paths;
`http_server` calls the handlers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import NamedTuple
from urllib.parse import parse_qsl

PLAIN = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """Request as a handler sees it; names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = {}
    arrived: float = math.inf  # monotonic time at which its last byte was read
    source: str = ""  # IP address of the client; empty: it came by a unix socket

    @property
    def host(self) -> str:
        """Value of the Host header."""
        return self.headers.get("host", "")

    @property
    def known(self) -> str:
        """Value of the If-None-Match header, the tag of the client's copy."""
        return self.headers.get("if-none-match", "")

    def asks(self, key: str) -> bool:
        """Return whether the query has `key`, with or without a value."""
        return any(part.partition("=")[0] == key for part in self.query.split("&"))

    def value(self, key: str, default: str = "") -> str:
        """Return the first value of `key` in the query."""
        return next((value for name, value in parse_qsl(self.query) if name == key), default)

    def values(self, key: str) -> list[str]:
        """Return all values of `key` in the query, also empty ones."""
        return [value for name, value in parse_qsl(self.query, keep_blank_values=True) if name == key]


class Response(NamedTuple):
    """Response. The server adds `Date` and `Content-Length`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Later = asyncio.Future["Response | None"]  # None: the handler raised an exception, which is recorded
Handler = Callable[[Request], "Response | Later"]
Routes = Mapping[str, Handler]


def text(body: str, status: int = 200) -> Response:
    """Return a response of plain text."""
    return Response(status, {"Content-Type": PLAIN, "X-Content-Type-Options": "nosniff"}, body.encode())


def shared(make: Callable[[Request], Response], key: Callable[[Request], object] = lambda request: None) -> Handler:
    """Return a handler that makes one response for all requests that arrived before it was made.

    Args:
        make: makes a response of the present state.
        key: returns the value that a response depends on; only the response of the last key is kept.

    """
    made_at = -math.inf
    made_for: object = None
    answer: Response | None = None

    def handle(request: Request) -> Response:
        nonlocal made_at, made_for, answer
        wanted = key(request)
        if answer is None or made_at < request.arrived or made_for != wanted:
            began = monotonic()
            answer = make(request)
            made_at, made_for = began, wanted
        return answer

    return handle
