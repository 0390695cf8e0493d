"""Forward proxy of a client: servers that are reached through one, its requests, and the meaning of its answers."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.http1.forward_proxy import (
    MAX_HEAD,
    Proxy,
    ProxyAnswer,
    ProxyError,
    choose,
    connect_request,
)

SERVER = ("konnectivity.example.com", 8132)
PROXY = Proxy("proxy", 3128)
WITH_PASSWORD = Proxy("proxy", 3128, "Basic dXNlcjpwYXNz")


def chosen(*server, **environment):
    return str(choose(environment, *(server or SERVER)))


def test_the_variable_of_https_counts_and_no_other():
    assert chosen(HTTPS_PROXY="http://proxy:3128") == "proxy:3128"
    assert chosen(https_proxy="http://proxy:3128") == "proxy:3128"
    assert chosen(HTTP_PROXY="http://proxy:3128", http_proxy="http://proxy:3128", ALL_PROXY="http://proxy:1") == "None"
    assert chosen() == "None"


def test_lower_case_comes_first_and_empty_counts_as_not_set():
    assert chosen(HTTPS_PROXY="http://upper:1", https_proxy="http://lower:1") == "lower:1"
    assert chosen(HTTPS_PROXY="http://upper:1", https_proxy="") == "upper:1"
    assert chosen(HTTPS_PROXY="http://upper:1", NO_PROXY="*", no_proxy="other.example") == "upper:1"
    assert chosen(HTTPS_PROXY="http://upper:1", NO_PROXY="*", no_proxy="") == "None"
    assert chosen(HTTPS_PROXY="") == "None"


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("http://proxy:3128", "proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("10.0.0.1:3128", "10.0.0.1:3128"),
        ("http://proxy", "proxy:80"),
        ("http://proxy:3128/", "proxy:3128"),
        ("HTTP://proxy:3128", "proxy:3128"),
        ("  http://proxy:3128\n", "proxy:3128"),
        ("http://[fd00::1]:3128", "[fd00::1]:3128"),
        ("[fd00::1]:3128", "[fd00::1]:3128"),
    ],
)
def test_forms_of_the_url(value, proxy):
    assert chosen(HTTPS_PROXY=value) == proxy


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        ("user:pass", "user:pass"),
        ("user:p%40ss%3A%2f", "user:p@ss:/"),
        ("user:p@ss", "user:p@ss"),
        ("us%C3%A9r:", "usér:"),
        ("user", "user:"),
        ("", ":"),
    ],
)
def test_user_and_password_become_basic_authorization(userinfo, pair):
    proxy = choose({"HTTPS_PROXY": f"http://{userinfo}@proxy:3128"}, *SERVER)
    kind, _, encoded = proxy.authorization.partition(" ")
    assert (kind, b64decode(encoded).decode()) == ("Basic", pair)


def test_without_user_there_is_no_authorization():
    assert choose({"HTTPS_PROXY": "http://proxy:3128"}, *SERVER).authorization == ""


def test_the_credentials_are_not_printed():
    proxy = choose({"HTTPS_PROXY": "http://user:secret@proxy:3128"}, *SERVER)
    assert str(proxy) == "proxy:3128"
    assert "Basic" not in repr(proxy)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "https://user:secret@proxy:3128",
            "TLS to a proxy (https://) is not supported; if it takes HTTP, write http://",
        ),
        ("socks5://user:secret@proxy:1080", "only HTTP proxies are supported, not socks5"),
        ("socks5h://proxy:1080", "only HTTP proxies are supported, not socks5h"),
        ("ftp://proxy:21", "not ftp"),
        ("://proxy", "not others"),
        ("http://", "is no URL of a proxy"),
        ("http:///path", "is no URL of a proxy"),
        ("http://:3128", "is no URL of a proxy"),
        ("http://proxy:port", "is no URL of a proxy"),
        ("http://proxy:0", "is no URL of a proxy"),
        ("http://proxy:65536", "is no URL of a proxy"),
        ("http://pro xy:3128", "is no URL of a proxy"),
        ("http://proxy:3128\r\nX: y", "is no URL of a proxy"),
        ("http://[fd00::1:3128", "is no URL of a proxy"),
        ("http:proxy:3128", "is no URL of a proxy"),
        ("http://user:secret#1@proxy:3128", "with %XX for special characters"),
        ("http://user:99/secret@proxy:3128", "with %XX for special characters"),
        ("http://user:99?secret@proxy:3128", "with %XX for special characters"),
        ("http://user:secret\u2100@proxy:3128", "is no URL of a proxy"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_without_its_password(value, message):
    with pytest.raises(ValueError) as caught:
        choose({"https_proxy": value}, *SERVER)
    text = str(caught.value)
    assert text.startswith("https_proxy")
    assert message in text
    assert "secret" not in text
    assert "99" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # no second text with the password


def test_a_bad_value_does_not_matter_to_servers_that_need_no_proxy():
    assert choose({"HTTPS_PROXY": "socks5://proxy:1080"}, "127.0.0.1", 8132) is None
    assert choose({"HTTPS_PROXY": "socks5://proxy:1080", "NO_PROXY": ".example.com"}, *SERVER) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_host_is_never_proxied(host):
    assert chosen(host, 8132, HTTPS_PROXY="http://proxy:1") == "None"


@pytest.mark.parametrize("host", ["localhost.example.com", "0.0.0.0", "128.0.0.1", "::2", "127.1"])
def test_what_only_looks_like_this_host_is(host):
    assert chosen(host, 8132, HTTPS_PROXY="http://proxy:1") == "proxy:1"


# Answers of golang.org/x/net/http/httpproxy to the same input.
@pytest.mark.parametrize(
    ("rule", "direct", "proxied"),
    [
        ("*", ["example.com", "10.0.0.1", "fd00::1"], []),
        ("x,*", ["example.com"], []),
        ("*:8132", [], ["example.com", "10.0.0.1"]),
        ("example.com", ["example.com", "EXAMPLE.com", "a.example.com", "b.a.example.com"], ["badexample.com", "com"]),
        ("EXAMPLE.com", ["example.com"], []),
        (".example.com", ["a.example.com", "b.a.example.com"], ["example.com", "badexample.com"]),
        ("*.example.com", ["a.example.com"], ["example.com"]),
        ("*example.com", [], ["example.com", "a.example.com", "badexample.com"]),
        ("a.*.com", [], ["a.example.com"]),
        (" x , example.com ", ["example.com", "x"], []),
        ("x example.com", [], ["example.com", "x"]),
        ("example.com:8132", ["example.com", "a.example.com"], []),
        ("example.com:443", [], ["example.com", "a.example.com"]),
        ("example.com:", ["example.com"], []),
        ("10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2", "x.10.0.0.1"]),
        ("10.0.0.1:8132", ["10.0.0.1"], []),
        ("10.0.0.1:443", [], ["10.0.0.1"]),
        ("10.0.0.0/8", ["10.0.0.1", "10.255.255.255", "::ffff:10.0.0.1"], ["11.0.0.1", "example.com"]),
        ("10.1.2.3/8", ["10.0.0.1"], []),
        ("0.0.0.0/0", ["10.0.0.1"], ["fd00::1", "example.com"]),
        ("10.0.0.0/8:8132", [], ["10.0.0.1"]),
        ("10.0.0.0/255.0.0.0", [], ["10.0.0.1"]),
        ("10.0.0.0/33", [], ["10.0.0.1"]),
        ("10.", [], ["10.0.0.1"]),
        ("fd00::1", ["fd00::1", "fd00:0::1"], ["fd00::2"]),
        ("fd00::/8", ["fd00::1", "fdff::1"], ["fe00::1", "10.0.0.1"]),
        ("[fd00::1]:8132", ["fd00::1"], []),
        ("[fd00::1]:443", [], ["fd00::1"]),
        ("[fd00::1]", [], ["fd00::1"]),
        ("bücher.example", ["bücher.example", "xn--bcher-kva.example", "a.bücher.example"], ["bucher.example"]),
        ("", [], ["example.com", "10.0.0.1"]),
        (",:8132, ,", [], ["example.com", "example.com.", "10.0.0.1"]),
    ],
)
def test_no_proxy(rule, direct, proxied):
    environment = {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": rule}
    assert [host for host in direct if choose(environment, host, 8132) is not None] == []
    assert [host for host in proxied if choose(environment, host, 8132) is None] == []


@given(st.text(), st.text())
def test_no_proxy_takes_any_text(rules, host):
    environment = {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": rules}
    assert choose(environment, host, 8132) in (None, Proxy("proxy", 1))


@given(st.text())
def test_any_value_is_a_proxy_or_a_value_error(value):
    try:
        proxy = choose({"HTTPS_PROXY": value}, *SERVER)
    except ValueError:
        return
    assert proxy is None or (proxy.host and 0 < proxy.port < 65536)


def test_what_the_proxy_is_asked():
    lines = connect_request(WITH_PASSWORD, *SERVER).decode().split("\r\n")
    assert lines[:2] == ["CONNECT konnectivity.example.com:8132 HTTP/1.1", "Host: konnectivity.example.com:8132"]
    assert lines[2].startswith("User-Agent: konnectivity-python/")
    assert lines[3:] == ["Proxy-Authorization: Basic dXNlcjpwYXNz", "", ""]
    assert b"Authorization" not in connect_request(PROXY, *SERVER)
    assert connect_request(PROXY, "fd00::1", 1).startswith(b"CONNECT [fd00::1]:1 HTTP/1.1\r\nHost: [fd00::1]:1\r\n")
    assert connect_request(PROXY, "bücher.example", 1).startswith(b"CONNECT xn--bcher-kva.example:1 ")


@pytest.mark.parametrize("host", ["a b", "a\r\nX: y", "", "a\x00", "\udc80"])
def test_a_host_that_would_break_the_request_is_not_asked_for(host):
    with pytest.raises(ProxyError, match="no host name"):
        connect_request(PROXY, host, 1)


YES = [
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nVia: 1.1 squid\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 204 \r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\nX: y\n\n",
]


@given(st.sampled_from(YES), st.binary(max_size=40), st.data())
def test_a_yes_is_one_wherever_it_is_split_and_what_follows_is_left(head, after, data):
    stream = head + after
    answer, at = ProxyAnswer(PROXY), 0
    while not answer.complete:
        size = data.draw(st.integers(1, len(stream) - at), "size")
        taken = answer.receive(stream[at : at + size])
        assert taken == size or answer.complete
        at += taken
    assert stream[at:] == after


NO = [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n", "the proxy proxy:3128 refuses: 403 Forbidden"),
    (b"HTTP/1.1 502\r\n\r\n", "the proxy proxy:3128 refuses: 502"),
    (b"HTTP/1.1 100 Continue\r\n\r\n", "refuses: 100 Continue"),
    (b"HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n", "refuses: 301 Moved"),
    (b"HTTP/1.1 503 a\x1b[31mb\xff\r\n\r\n", "refuses: 503 a?[31mbÿ"),
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a user and password in HTTPS_PROXY (407 Proxy Auth"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "proxy:3128 is no HTTP proxy: its answer begins with b'HTTP/1.1 2000 OK"),
    (b"HTTP/1.1\r\n\r\n", "is no HTTP proxy"),
    (b"HTTP/1.1 200 OK", "the proxy proxy:3128 closed the connection without an answer"),
    (b"", "closed the connection without an answer"),
    (b"SSH-2.0-OpenSSH_9.9\r\n", "is no HTTP proxy"),
    (b"\x15\x03\x01\x00\x02\x02\x16", "is no HTTP proxy"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD, "longer than 16384 bytes"),
    (b"HTTP/1.1 200 " + b"x" * MAX_HEAD, "longer than 16384 bytes"),
]


@given(st.sampled_from(NO), st.integers(1, 5000))
def test_a_no_says_why_wherever_it_is_split(case, size):
    stream, message = case
    answer = ProxyAnswer(PROXY)
    with pytest.raises(ProxyError) as caught:
        for at in range(0, len(stream), size):
            answer.receive(stream[at : at + size])
        answer.receive(b"")
    assert message.partition(": its")[0] in str(caught.value)
    assert not answer.complete


def test_the_longest_answer_that_is_taken():
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    longest = head[:-4] + b"x" * (MAX_HEAD - len(head)) + head[-4:]
    answer = ProxyAnswer(PROXY)
    assert answer.receive(longest + b"after") == MAX_HEAD
    assert answer.complete
    with pytest.raises(ProxyError, match="longer"):
        ProxyAnswer(PROXY).receive(longest.replace(b"OK", b"OKx"))


def test_a_wrong_password_is_not_a_missing_one():
    with pytest.raises(ProxyError, match=r"does not accept the user and password in HTTPS_PROXY \(407\)"):
        ProxyAnswer(WITH_PASSWORD).receive(b"HTTP/1.1 407\r\n\r\n")


def test_a_long_reason_is_cut():
    with pytest.raises(ProxyError) as caught:
        ProxyAnswer(PROXY).receive(b"HTTP/1.1 500 " + b"x" * 5000 + b"\r\n\r\n")
    assert len(str(caught.value)) < 300
