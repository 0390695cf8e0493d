"""One HTTP/1.1 request and the reading of its response."""

from __future__ import annotations

import pytest

from konnectivity.http1.http_exchange import MAX_HEAD, FetchError, HttpExchange, ResponseHead

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"


def exchange() -> HttpExchange:
    return HttpExchange("GET", "/x?y=1", [("Host", "a"), ("Connection", "close")])


def test_the_request_has_its_line_its_headers_and_its_body() -> None:
    made = HttpExchange("POST", "/", [("Host", "a"), ("Content-Length", "2")], b"ab")
    assert made.request == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    assert exchange().request == b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_head_and_body_are_the_same_however_the_response_arrives(size: int) -> None:
    asked, events = exchange(), []
    for at in range(0, len(WHOLE), size):
        assert not asked.complete
        events += asked.receive(WHOLE[at : at + size])
    assert asked.complete
    assert events[0] == ResponseHead(200, "OK", [("Content-Length", "5"), ("X-A", "b")])
    assert b"".join(part for part in events[1:] if isinstance(part, bytes)) == b"hello"


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    asked = exchange()
    asked.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    assert asked.receive(b"all") == [b"all"]
    assert not asked.complete
    asked.receive(b"")
    assert asked.complete


def test_a_chunked_body_is_put_together() -> None:
    asked = exchange()
    events = asked.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert b"".join(part for part in events if isinstance(part, bytes)) == b"abcde"
    assert asked.complete


def test_an_interim_response_is_skipped() -> None:
    asked = exchange()
    events = asked.receive(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)
    assert isinstance(events[0], ResponseHead)
    assert events[0].status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n",
        b"A" * (MAX_HEAD + 1),
    ],
    ids=["another protocol", "no status", "no header", "endless head"],
)
def test_bytes_that_are_no_response_are_refused(data: bytes) -> None:
    with pytest.raises(FetchError, match="no whole HTTP answer"):
        exchange().receive(data)


@pytest.mark.parametrize("size", [0, 10, len(WHOLE) - 1])
def test_a_response_that_ends_too_early_is_refused(size: int) -> None:
    asked = exchange()
    asked.receive(WHOLE[:size]) if size else None
    with pytest.raises(FetchError, match="no whole HTTP answer"):
        asked.receive(b"")


def test_a_switch_to_another_protocol_is_refused() -> None:
    asked = HttpExchange("GET", "/", [("Host", "a"), ("Upgrade", "x"), ("Connection", "upgrade")])
    with pytest.raises(FetchError, match="another protocol"):
        asked.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")


def test_a_request_that_would_break_its_head_is_refused() -> None:
    with pytest.raises(FetchError, match="cannot be sent"):
        HttpExchange("GET", "/ HTTP/1.1\r\nX: y", [("Host", "a")])
