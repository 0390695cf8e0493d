"""Requests, answers and handlers of the health and admin ports. A handler is called with a `Request` and returns a
`Response`, now or later. What serves them is `http_server`.
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
    """What a handler may look at. The values of `headers` have their names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = {}
    arrived: float = math.inf  # when its last byte was read, on the monotonic clock

    @property
    def host(self) -> str:
        """Return the Host header."""
        return self.headers.get("host", "")

    @property
    def known(self) -> str:
        """Return the If-None-Match header: what the client has."""
        return self.headers.get("if-none-match", "")

    def asks(self, key: str) -> bool:
        """Return whether the query has this key, with a value or without."""
        return any(part.partition("=")[0] == key for part in self.query.split("&"))

    def value(self, key: str, default: str = "") -> str:
        """Return the first value of a key of the query."""
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


def shared(make: Callable[[Request], Response], key: Callable[[Request], object] = lambda request: None) -> Handler:
    """Return a handler that makes one answer for all requests that arrived before it began to make it.

    Args:
        make: makes an answer of the present state.
        key: what the answer depends on; only the answer to the last key is kept.

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
