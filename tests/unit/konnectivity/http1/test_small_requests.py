"""Small requests over an open connection."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.http1 import small_requests
from konnectivity.http1.http_exchange import FetchError


class Sent:
    """Writer that records written bytes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def answered(data: bytes, **limits) -> tuple[small_requests.SmallResponse, bytes]:
    reader, sent = asyncio.StreamReader(), Sent()
    reader.feed_data(data)
    reader.feed_eof()
    return await small_requests.get(reader, sent, "worker", "/readyz?verbose", **limits), sent.data


async def test_the_response_is_returned_whole() -> None:
    answer, sent = await answered(b"HTTP/1.1 503 No\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello")
    assert (answer.status, answer.body) == (503, b"hello")
    assert answer.headers == {"content-length": "5", "x-a": "b"}
    assert sent == b"GET /readyz?verbose HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n"


async def test_a_response_as_large_as_the_limit_is_taken_and_a_larger_one_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    answer, _ = await answered(head + b"x" * 10, max_body=10)
    assert answer.body == b"x" * 10
    with pytest.raises(FetchError, match="longer than 10 bytes"):
        await answered(head + b"x" * 11, max_body=10)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", b"+OK POP3 ready\r\n"])
async def test_a_response_that_is_none_or_half_of_one_is_refused(data: bytes) -> None:
    with pytest.raises(FetchError):
        await answered(data)
