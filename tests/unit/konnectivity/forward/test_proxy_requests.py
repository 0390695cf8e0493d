"""Tests of requests to the HTTP proxy: the destination, the head that is passed on, and ambiguous heads refused."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konnectivity.forward.proxy_requests import RequestError, parse_request, plain_connect, refused_head
from konnectivity.http1.message_heads import HeadError, HeadFault
from support.examples import examples


def parse(head: bytes):
    return parse_request(head, h11.Connection(h11.SERVER))


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\r\n" for text in (*texts, "")).encode("latin-1")


@pytest.mark.parametrize(
    ("target", "destination"),
    [
        ("10.0.0.7:10250", "10.0.0.7:10250"),
        ("[fd00::7]:443", "[fd00::7]:443"),
        ("[fe80::1%25eth0]:443", "[fe80::1%eth0]:443"),
        ("node-1", "node-1:443"),
    ],
)
def test_connect(target, destination):
    request = parse(lines(f"CONNECT {target} HTTP/1.1", f"Host: {target}"))
    assert (request.is_connect, request.destination) == (True, destination)


FIELDS = (
    "User-Agent: curl/8.5.0",
    "Proxy-Connection: Keep-Alive",
    "Proxy-Authorization: Basic YW5uOnNlY3JldA==",
    "Proxy-Authorization: Basic Ym9iOm90aGVy",
    "Content-Length: 0",
    "Host: b:1",
    "X: y",
)


@pytest.mark.parametrize("fields", [(), FIELDS[:1], FIELDS[:3], (FIELDS[2], FIELDS[0])], ids=len)
def test_the_usual_forms_of_connect_need_no_parser(fields):
    assert plain_connect(lines("CONNECT a:1 HTTP/1.1", "Host: a:1", *fields)) is not None


@given(st.sampled_from(["a:1", "a", "[::1]:5", "a:x", "/", "a b"]), st.lists(st.sampled_from(FIELDS), max_size=6))
def test_a_connect_of_the_usual_form_is_read_as_by_the_parser(target, fields):
    head = lines(f"CONNECT {target} HTTP/1.1", "Host: a:1", *fields)
    try:
        request = plain_connect(head)
    except RequestError as error:
        with pytest.raises(RequestError, match=re.escape(str(error))):
            parse(head)
    else:
        assert request is None or request == parse(head)


def test_a_request_in_absolute_form():
    request = parse(lines("GET http://svc.ns:9090/metrics?x=1#y HTTP/1.1", "Host: other", "Accept: */*"))
    assert (request.destination, request.is_repeatable) == ("svc.ns:9090", True)
    assert request.head.target == b"/metrics?x=1"
    assert list(request.head.headers) == [(b"host", b"svc.ns:9090"), (b"accept", b"*/*"), (b"via", b"1.1 konnectivity")]


@pytest.mark.parametrize(
    ("target", "method", "passed"),
    [
        ("http://a", "GET", b"/"),
        ("http://a?q", "GET", b"/?q"),
        ("http://a", "OPTIONS", b"*"),
        ("HTTP://a/b", "PUT", b"/b"),
    ],
)
def test_the_path_that_is_passed_on(target, method, passed):
    assert parse(lines(f"{method} {target} HTTP/1.1", "Host: a")).head.target == passed


def test_fields_of_the_hop_are_removed():
    """Those of RFC 9110 section 7.6.1, and those that Connection names, but never the length."""
    head = lines(
        "POST http://a/ HTTP/1.1",
        "Host: a",
        "Connection: close, X-Hop, content-length, host",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic YTpi",
        "TE: trailers",
        "Upgrade: websocket",
        "X-Hop: secret",
        "Via: 1.1 other",
        "Content-Length: 5",
        "X-Kept: yes",
    )
    request = parse(head)
    assert request.authorization == "Basic YTpi"
    assert not request.is_repeatable
    assert list(request.head.headers) == [
        (b"host", b"a"),
        (b"content-length", b"5"),
        (b"x-kept", b"yes"),
        (b"via", b"1.1 other, 1.1 konnectivity"),
    ]


@pytest.mark.parametrize(
    ("head", "status"),
    {
        b"GET http://a/ HTTP/1.1\nHost: a\n\n": 400,  # bare LF
        b"GET http://a/ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\rX: y\r\n\r\n": 400,  # bare CR
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n": 400,  # a folded line
        b"GET http://a/ HTTP/1.1\r\n Host: a\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n": 501,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX\x00: y\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
        b"GET http://a/ HTTP/1.1\r\n\r\n": 400,
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET http://a:70000/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"GET http://127.1/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"TRACE http://a/ HTTP/1.1\r\nHost: a\r\n\r\n": 405,
        b"CONNECT a:b HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"CONNECT a:443/x HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"PRI * HTTP/2.0\r\n\r\n": 505,
    }.items(),
)
def test_an_ambiguous_or_impossible_head_is_refused(head, status):
    with pytest.raises(RequestError) as caught:
        parse(head)
    assert caught.value.status == status
    assert str(caught.value)


def test_bytes_that_are_no_head():
    assert refused_head(HeadError(HeadFault.NOT_HTTP)).status == 400
    assert refused_head(HeadError(HeadFault.TOO_LARGE)).status == 431


@given(st.binary(max_size=300), st.sampled_from([b"", b"GET http://a/ HTTP/1.1\r\nHost: a\r\n", b"CONNECT "]))
@settings(max_examples=examples(400), deadline=None)
def test_any_bytes_are_a_request_or_refused(data, beginning):
    try:
        request = parse(beginning + data + b"\r\n\r\n")
    except RequestError as error:
        assert 400 <= error.status < 600
    else:
        assert request.destination
