"""Rules for header blocks (RFC 9113 section 8)."""

from __future__ import annotations

import pytest

from konnectivity.http2.header_rules import check_request, check_response, check_trailers

POST = [(":method", "POST"), (":scheme", "https"), (":path", "/Proxy"), (":authority", "proxy")]
CONNECT = [(":method", "CONNECT"), (":authority", "node:10250")]


@pytest.mark.parametrize(
    "headers",
    [
        POST,
        POST[:3],
        CONNECT,
        [*POST, ("te", "trailers"), ("x-~!#$%&'*+-.^_`|", ""), ("grpc-timeout", "1S"), ("a", "b c\td"), ("a", "ü")],
    ],
)
def test_requests(headers: list[tuple[str, str]]) -> None:
    assert check_request(headers) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "without :method"),
        (POST[1:], "without :method"),
        ([POST[0], POST[2]], "without :scheme or :path"),
        (POST[:2], "without :scheme or :path"),
        ([*POST[:2], (":path", "")], "without :scheme or :path"),
        (CONNECT[:1], "CONNECT takes :authority"),
        ([*CONNECT, (":path", "/")], "CONNECT takes :authority"),
        ([*CONNECT, (":scheme", "https")], "CONNECT takes :authority"),
        ([*POST, POST[0]], "':method' is not allowed here or stands twice"),
        ([*POST, (":status", "200")], "':status' is not allowed here"),
        ([*POST, (":other", "x")], "':other' is not allowed here"),
        ([*POST, (":\udcff", "x")], r"':\\udcff' is not allowed here"),
        ([("a", "b"), *POST], "':method' after a regular header"),
        ([*POST, ("Upper", "x")], "bad header name 'Upper'"),
        ([*POST, ("", "x")], "bad header name ''"),
        ([*POST, ("a b", "x")], "bad header name 'a b'"),
        ([*POST, ("a\n", "x")], r"bad header name 'a\\n'"),
        ([*POST, ("\udcff", "x")], r"bad header name '\\udcff'"),
        ([*POST, ("connection", "close")], "connection-specific header connection: 'close'"),
        ([*POST, ("proxy-connection", "x")], "connection-specific"),
        ([*POST, ("keep-alive", "x")], "connection-specific"),
        ([*POST, ("transfer-encoding", "chunked")], "connection-specific"),
        ([*POST, ("upgrade", "h2c")], "connection-specific"),
        ([*POST, ("te", "gzip")], "connection-specific header te: 'gzip'"),
        ([*POST, ("a", "x\0")], "bad value of header a"),
        ([*POST, ("a", "x\ny")], "bad value of header a"),
        ([*POST, ("a", "x\ry")], "bad value of header a"),
        ([*POST, ("a", " x")], "bad value of header a"),
        ([*POST, ("a", "x\t")], "bad value of header a"),
        ([*POST, ("a", "\udc80")], "bad value of header a"),
        ([*POST[:2], (":path", "/\n")], "bad value of header :path"),
        ([*POST, ("content-length", "-1")], "bad content-length"),
        ([*POST, ("content-length", "")], "bad content-length"),
        ([*POST, ("content-length", "1_0")], "bad content-length"),
        ([*POST, ("content-length", "٣")], "bad content-length"),
        ([*POST, ("content-length", "9" * 5000)], "bad content-length"),
        ([*POST, ("content-length", "1"), ("content-length", "2")], "bad content-length"),
    ],
)
def test_malformed_requests(headers: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_request(headers)


def test_content_length() -> None:
    assert check_request([*POST, ("content-length", "0")]) == 0
    assert check_request([*POST, ("content-length", "42"), ("content-length", "42")]) == 42


def test_responses() -> None:
    assert check_response([(":status", "200"), ("te", "trailers")]) == 200
    assert check_response([(":status", "103")]) == 103


@pytest.mark.parametrize("status", ["", "20", "2000", "099", "abc", "2 0", "٢٠٠", "200\n"])
def test_malformed_responses(status: str) -> None:
    with pytest.raises(ValueError):
        check_response([(":status", status)])


def test_responses_have_a_status_and_no_other_pseudo_header() -> None:
    for headers in ([], [("a", "b")], [(":status", "200"), (":path", "/")], [("a", "b"), (":status", "200")]):
        with pytest.raises(ValueError):
            check_response(headers)


def test_trailers() -> None:
    check_trailers([])
    check_trailers([("grpc-status", "0"), ("grpc-message", "all%20fine")])
    with pytest.raises(ValueError, match="':status' is not allowed here"):
        check_trailers([(":status", "200")])
