"""Destination addresses in all usual spellings."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.net import addresses

LABEL = "x" * 63


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[fd00::1]:443", ("fd00::1", 443)),
        ("node:0", ("node", 0)),
        (":8080", ("", 8080)),
        ("a_b.Svc-1.cluster.local.:1", ("a_b.Svc-1.cluster.local.", 1)),
        ("node.01:1", ("node.01", 1)),
        ("xn--bcher-kva.example:1", ("xn--bcher-kva.example", 1)),
        (f"{LABEL}.{LABEL}.{LABEL}.{LABEL[:61]}.:1", (f"{LABEL}.{LABEL}.{LABEL}.{LABEL[:61]}.", 1)),
        ("[::ffff:127.0.0.1]:1", ("::ffff:127.0.0.1", 1)),
        ("[fe80::1%eth0.100]:1", ("fe80::1%eth0.100", 1)),
        ("[10.0.0.1]:1", ("10.0.0.1", 1)),
    ],
)
def test_split(address, expected):
    assert addresses.split(address) == expected


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1\0", "127.0.0.1\0.allowed.example", "\0", "a\0b", "a\x01b", "a\x7fb", "a\x85b"),
        *("a b", " a", "a ", "a\t", "a\n", "a\r\nX", "a\u00a0b", "a\u2028b", "a\u200bb", "\ufeffa"),
        *(
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "010.0.0.1",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.1.1.1",
        ),
        *("0x7F.0.0.0x1", "127.0.0.0x1", "1", "0x", "00000000000000000000000000177.0.0.1"),
        *("a..b", ".a", "a..", ".", "..", "-a", "a-", "a.-b", "a-.b", "a" * 64, f"{'a.' * 127}a", "a" * 254),
        *(
            "*",
            "*.a",
            "a/b",
            "u@a",
            "a#b",
            "a?b",
            "a,b",
            "a;b",
            "a\\b",
            "a%00b",
            "a%2eb",
            "%61",
            "a&b",
            "a=b",
            "a'b",
            'a"b',
        ),
        *(
            "b\u00fccher.example",
            "a\u3002b",
            "\uff11\uff12\uff17.0.0.1",
            "127\uff0e0.0.1",
            "\u0663.0.0.1",
            "\ud800",
            "\udcff.a",
        ),
        *(
            "[::1%]",
            "[::1%a\0]",
            "[::1%a b]",
            "[::1%a%b]",
            "[::1%a/b]",
            "[::g]",
            "[::1\0]",
            "[1::2::3]",
            "[::1\n]",
            "[:]",
        ),
        *("[10.0.0.1%lo]", "[a b]", "[127.1]", "1.2.3.4%lo", f"[::1%{'z' * 64}]"),
    ],
)
def test_what_is_no_host_is_not_dialled(host):
    with pytest.raises(ValueError, match=r"^dial tcp: lookup .*: no such host$") as caught:
        addresses.parse("tcp", f"{host}:443")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "port",
    [
        "",
        "+80",
        "-1",
        " 80",
        "80 ",
        "8_0",
        "0x50",
        "\uff18\uff10",
        "\u0668",
        "65536",
        "000080",
        "9" * 5000,
        "80\0",
        "80\n",
    ],
)
def test_what_is_no_port(port):
    with pytest.raises(ValueError, match=r"^dial tcp: address .*: invalid port$") as caught:
        addresses.parse("tcp", f"10.0.0.1:{port}")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("network", ["udp", "unix", "", "tcp\0", "TCP", "tcp\r\nX"])
def test_what_is_no_network(network):
    with pytest.raises(ValueError, match="unknown network") as caught:
        addresses.parse(network, "10.0.0.1:80")
    assert str(caught.value).isprintable()


def test_go_s_texts():
    for network, address, text in (
        ("tcp4", "a..b:1", "dial tcp4: lookup a..b: a name has no empty label: no such host"),
        ("tcp", "127.0.0.1", "dial tcp: address 127.0.0.1: missing port in address"),
        ("tcp", "h:1 HTTP/1.1\r\nX: y", "dial tcp: address h:1 HTTP/1.1\\r\\nX: y: too many colons in address"),
        ("bogus", "a:1", "dial bogus: unknown network bogus"),
    ):
        with pytest.raises(ValueError, match="dial ") as caught:
            addresses.parse(network, address)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1", "address 127.0.0.1: missing port in address"),
        ("a:99999", "address 99999: invalid port"),
        ("a:http", "address http: invalid port"),
        ("fd00::1:80", "address fd00::1:80: too many colons in address"),
        ("[fd00::1", "address [fd00::1: missing ']' in address"),
        ("[fd00::1]", "address [fd00::1]: missing port in address"),
        ("", "address : missing port in address"),
    ],
)
def test_what_is_no_address(address, text):
    with pytest.raises(ValueError, match=r".") as caught:
        addresses.split(address)
    assert str(caught.value) == text


@given(st.text())
def test_any_text_splits_or_is_refused(text):
    addresses.host_of(text)
    try:
        host, port = addresses.split(text)
    except ValueError as error:
        assert str(error).startswith(("address ", "lookup "))
        assert str(error).isprintable()
    else:
        assert 0 <= port <= 65535
        assert host in text
        assert host.isascii()
        assert host.isprintable()


@given(st.from_regex(r"[a-z0-9._%:\[\]x-]{1,40}:[0-9]{1,5}", fullmatch=True))
def test_what_is_a_host_is_an_address_or_has_an_ascii_label_that_is_no_number(text):
    try:
        host, _ = addresses.split(text)
    except ValueError:
        return
    try:
        ip_address(host)
    except ValueError:
        with pytest.raises(OSError):  # the C library does not take it for an address either
            socket.inet_aton(host)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a"], [("a", 8132)]),
        (["a:1", "b"], [("a", 1), ("b", 8132)]),
        (["10.0.0.1:443"], [("10.0.0.1", 443)]),
        (["fd00::1"], [("fd00::1", 8132)]),
        (["[fd00::1]:443", "[fd00::2]"], [("fd00::1", 443), ("fd00::2", 8132)]),
        ([" a ", "a"], [("a", 8132)]),
        (["b\u00fccher.example"], [("b\u00fccher.example", 8132)]),
        (["konnectivity.example.com."], [("konnectivity.example.com.", 8132)]),
    ],
)
def test_lists_of_hosts(texts, expected):
    assert addresses.parse_hosts(texts, 8132) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "a:", "a:x", "a:70000", "a:0", "[fd00::1]:0"),
        *(
            "a..b",
            ".example.com",
            f"{'a' * 64}.example.com",
            "a b",
            "a\0b",
            "a/b",
            "http://a",
            "a:1:2",
            "[a]:1:2",
            "\u00fc..a",
            "\ud800",
        ),
    ],
)
def test_what_is_no_host(text):
    with pytest.raises(ValueError, match=r"names no host|has no port|is no host: "):
        addresses.parse_hosts([text], 8132)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.0.9",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "::1%lo",
        "::ffff:127.0.0.1",
        "localhost",
        "LocalHost.",
    ],
)
def test_a_loopback_address_and_localhost_are_loopback(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "::100",
        "::1:0",
        "::10",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "127.example.com",
        "127.1",
        "localhost.example.com",
        "localhosts",
        "[::1",
    ],
)
def test_what_only_begins_like_a_loopback_address_is_none(host: str) -> None:
    assert not addresses.is_loopback(host)
