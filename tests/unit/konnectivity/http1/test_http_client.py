"""HTTP client: URLs, headers, and the bytes of a request."""

from __future__ import annotations

import pytest

from konnectivity.http1.http_client import FetchRequest, parse_header, parse_url


@pytest.mark.parametrize(
    ("text", "address", "authority", "target"),
    [
        ("http://a.example", "a.example:80", "a.example", "/"),
        ("https://10.0.0.7:10250/metrics?x=1", "10.0.0.7:10250", "10.0.0.7:10250", "/metrics?x=1"),
        ("https://[fd00::1]/", "[fd00::1]:443", "[fd00::1]", "/"),
        ("10.0.0.7:8080/x", "10.0.0.7:8080", "10.0.0.7:8080", "/x"),
    ],
)
def test_urls(text, address, authority, target):
    url = parse_url(text)
    assert (url.address, url.authority, url.target) == (address, authority, target)


@pytest.mark.parametrize("text", ["ftp://x/", "http://", "http://x:99999/", "http://a b/", "http://u:p@x/", ""])
def test_what_is_no_url(text):
    with pytest.raises(ValueError, match=r"URL|http|port"):
        parse_url(text)


def test_headers_that_are_given_win():
    request = FetchRequest(parse_url("http://x/"), "POST", [parse_header("host: y"), parse_header("A:b:c")], b"12")
    headers = dict(request.all_headers())
    assert headers["host"] == "y"
    assert "Host" not in headers
    assert (headers["A"], headers["Content-Length"], headers["Connection"]) == ("b:c", "2", "close")
    with pytest.raises(ValueError, match="no header"):
        parse_header("nothing")
