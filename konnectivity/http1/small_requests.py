"""Small HTTP/1.1 requests whose response is kept whole in memory: GET from an admin port or from a worker.

Owns the limit of a response's size. Does not know the paths, nor the meaning of a response.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from konnectivity.http1.http_exchange import FetchError, Header, HttpExchange, ResponseHead
from konnectivity.net.addresses import split

MAX_BODY = 64 * 1024 * 1024  # bytes of a response's body
_CHUNK = 64 * 1024


class SmallResponse(NamedTuple):
    """Status, headers (names in lower case) and body of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _SmallExchange:
    """GET request, and the response as far as it has been received.

    Args:
        host: value of the Host header.
        target: path and query.
        headers: further headers.
        max_body: bytes of the response's body.

    """

    def __init__(self, host: str, target: str, headers: Sequence[Header], max_body: int) -> None:
        self._exchange = HttpExchange("GET", target, [("Host", host), ("Connection", "close"), *headers])
        self._max_body = max_body
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def request(self) -> bytes:
        return self._exchange.request

    @property
    def complete(self) -> bool:
        return self._exchange.complete

    def receive(self, data: bytes) -> None:
        """Take received bytes; none: the peer closed.

        Raises:
            FetchError: the response is no HTTP, incomplete or too large.

        """
        events: Iterable[ResponseHead | bytes] = self._exchange.receive(data)
        for event in events:
            if isinstance(event, ResponseHead):
                self._head = event
                continue
            self._size += len(event)
            if self._size > self._max_body:
                raise FetchError(f"the answer is longer than {self._max_body} bytes")
            self._body.append(event)

    def response(self) -> SmallResponse:
        """Return the response, which is complete."""
        assert self._head is not None, "a response that ends before its head is refused"
        headers = {name.lower(): value for name, value in self._head.headers}
        return SmallResponse(self._head.status, headers, b"".join(self._body))


async def get(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    target: str,
    headers: Sequence[Header] = (),
    max_body: int = MAX_BODY,
) -> SmallResponse:
    """Send GET `target` over an open connection and return the response. The caller has a deadline, and closes.

    Raises:
        FetchError: a header cannot be sent, or the response is no HTTP, incomplete or too large.
        OSError: the connection broke.

    """
    exchange = _SmallExchange(host, target, headers, max_body)
    writer.write(exchange.request)
    while not exchange.complete:
        exchange.receive(await reader.read(_CHUNK))
    return exchange.response()


def get_blocking(
    address: str, target: str, timeout_s: float, headers: Sequence[Header] = (), max_body: int = MAX_BODY
) -> SmallResponse:
    """Connect to `address` ("host:port"), send GET `target` and return the response; the thread waits.

    Raises:
        FetchError: a header cannot be sent, or the response is no HTTP, incomplete or too large.
        OSError: the connection failed, or the response is not complete within `timeout_s` seconds (TimeoutError).
        ValueError: the address is not "host:port".

    """
    exchange = _SmallExchange(address, target, headers, max_body)
    deadline = monotonic() + timeout_s
    with socket.create_connection(split(address), timeout_s) as sock:
        sock.sendall(exchange.request)
        while not exchange.complete:
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise TimeoutError
            sock.settimeout(left_s)
            exchange.receive(sock.recv(_CHUNK))
    return exchange.response()
