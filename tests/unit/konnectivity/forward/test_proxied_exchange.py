"""Tests of one proxied HTTP exchange: bodies framed anew, early and interim responses, and responses that lie."""

from __future__ import annotations

import h11
import pytest

from konnectivity.forward.proxied_exchange import ProxiedExchange, ResponseError
from konnectivity.forward.proxy_requests import RequestError, parse_request


def begin(head: str, body: bytes = b"") -> tuple[ProxiedExchange, bytes]:
    parser = h11.Connection(h11.SERVER)
    request = parse_request(head.replace("\n", "\r\n").encode(), parser)
    exchange = ProxiedExchange(parser, request, 16384)
    return exchange, exchange.begin(body)


GET = "GET http://a/x HTTP/1.1\nHost: a\n\n"
CHUNKED = "POST http://a/x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n"


def test_a_get_and_the_next_request_of_the_same_client():
    exchange, sent = begin(GET, b"GET http://b/ HTTP/1.1\r\n")
    assert sent == b"GET /x HTTP/1.1\r\nHost: a\r\nVia: 1.1 konnectivity\r\n\r\n"
    answer = exchange.from_target(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X\r\nX: 1\r\n\r\nhi"
    )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 konnectivity\r\n\r\nhi"
    assert exchange.client_stays
    assert exchange.target_stays
    assert exchange.rest() == b"GET http://b/ HTTP/1.1\r\n"


def test_a_body_in_chunks_is_framed_anew():
    """Extensions, trailers and odd sizes of the client's chunks never reach the destination."""
    exchange, sent = begin(CHUNKED, b'3;x="y"\r\nabc\r\n')
    assert sent.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert exchange.from_client(b"00000002\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n") == b"2\r\nde\r\n0\r\n\r\n"
    assert exchange.request_done


@pytest.mark.parametrize(
    "body", [b"fffffffffffffffffffff\r\n", b"-1\r\n", b"0x2\r\nab\r\n", b"2\nab\r\n", b"1\r\nab\r\n0\r\n\r\n", b"\r\n"]
)
def test_a_chunk_that_lies_is_refused(body):
    exchange, _ = begin(CHUNKED)
    with pytest.raises(RequestError) as caught:
        for at in range(len(body)):
            assert b"HTTP" not in exchange.from_client(body[at : at + 1])
    assert caught.value.status == 400


def test_a_body_that_ends_early_is_refused():
    exchange, _ = begin("POST http://a/ HTTP/1.1\nHost: a\nContent-Length: 5\n\n", b"ab")
    with pytest.raises(RequestError):
        exchange.from_client(b"")


def test_a_response_until_the_end_of_the_connection_gets_a_length():
    exchange, _ = begin(GET)
    answer = (
        exchange.from_target(b"HTTP/1.0 200 OK\r\n\r\nab") + exchange.from_target(b"cd") + exchange.from_target(b"")
    )
    assert answer.endswith(b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    assert exchange.client_stays
    assert not exchange.target_stays


def test_a_client_of_http_1_0_gets_no_chunks():
    exchange, _ = begin("GET http://a/x HTTP/1.0\nHost: a\n\n")
    head = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange.from_target(head + b"2\r\nab\r\n0\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\nVia: 1.1 konnectivity\r\nConnection: close\r\n\r\nab"
    assert not exchange.client_stays


@pytest.mark.parametrize(
    "response", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"]
)
def test_a_response_without_a_body(response):
    exchange, _ = begin(GET)
    exchange.from_target(response)
    assert exchange.response_done
    assert exchange.client_stays


def test_head():
    exchange, _ = begin("HEAD http://a/x HTTP/1.1\nHost: a\n\n")
    assert b"Content-Length: 500" in exchange.from_target(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert exchange.response_done


def test_100_continue_is_passed_on_in_both_directions():
    exchange, sent = begin("PUT http://a/ HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 2\n\n")
    assert b"Expect: 100-continue" in sent
    assert exchange.from_target(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    assert not exchange.response_begun
    assert exchange.from_client(b"ab") == b"ab"
    exchange.from_target(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    assert exchange.client_stays


def test_an_answer_before_the_whole_body_ends_the_connection():
    exchange, _ = begin("PUT http://a/ HTTP/1.1\nHost: a\nContent-Length: 9\n\n", b"abc")
    answer = exchange.from_target(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close" in answer
    assert not exchange.client_stays
    assert exchange.from_client(b"def") in (b"", b"def")


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX" + b"y" * 40000,
        b"SSH-2.0-x\r\n\r\n",
        b"",
    ],
)
def test_a_response_that_cannot_be_passed_on(response):
    exchange, _ = begin(GET)
    with pytest.raises(ResponseError):
        exchange.from_target(response)
    assert not exchange.response_begun


def test_a_response_that_is_cut():
    exchange, _ = begin(GET)
    exchange.from_target(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    with pytest.raises(ResponseError):
        exchange.from_target(b"")
    assert exchange.response_begun
    assert not exchange.response_done


def test_bytes_behind_a_response_end_the_connection_to_the_destination():
    exchange, _ = begin(GET)
    exchange.from_target(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert exchange.client_stays
    assert not exchange.target_stays


def test_a_request_is_sent_once_more():
    exchange, sent = begin(GET)
    with pytest.raises(ResponseError):
        exchange.from_target(b"")
    assert exchange.again() == sent
    exchange.from_target(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert exchange.client_stays
