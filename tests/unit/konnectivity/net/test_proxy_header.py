"""Tests of PROXY protocol headers: both versions in any pieces, and everything else refused."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konnectivity.net.proxy_header import MAX_BLOCK, MAX_LINE, BadProxyHeader, ProxyHeader, begins_header
from support.examples import examples

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BEHIND = b"\x16\x03\x01\x00\xc8 of a ClientHello"
ADDRESSES4 = bytes((192, 0, 2, 7, 10, 0, 0, 1)) + struct.pack("!HH", 56324, 8091)
ADDRESSES6 = ip_address("2001:db8::7").packed + ip_address("fd00::1").packed + struct.pack("!HH", 56324, 8091)
MAPPED6 = ip_address("::ffff:192.0.2.7").packed * 2 + struct.pack("!HH", 1, 2)


def block(command: int, family: int, rest: bytes = b"") -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(rest)) + rest


HEADERS = {
    b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 8091\r\n": ("192.0.2.7", 56324),
    b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n": ("0.0.0.0", 0),
    b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 56324 8091\r\n": ("2001:db8::7", 56324),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n": ("192.0.2.7", 1),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN " + b"f" * (MAX_LINE - 16) + b"\r\n": None,
    b"PROXY UNKNOWN \xff\r %s \r\n": None,
    block(0x21, 0x11, ADDRESSES4): ("192.0.2.7", 56324),
    block(0x21, 0x11, ADDRESSES4 + b"\x04\x00\x03\0\0\0"): ("192.0.2.7", 56324),
    block(0x21, 0x11, ADDRESSES4.ljust(MAX_BLOCK, b"\n")): ("192.0.2.7", 56324),
    block(0x21, 0x21, ADDRESSES6): ("2001:db8::7", 56324),
    block(0x21, 0x21, MAPPED6): ("192.0.2.7", 1),
    block(0x20, 0x00): None,
    block(0x20, 0xFF, b"of no meaning"): None,
    block(0x20, 0x11, ADDRESSES4): None,
    block(0x21, 0x00): None,
    block(0x21, 0x00, b"PROXY TCP4"): None,
    block(0x21, 0x12, ADDRESSES4): None,
    block(0x21, 0x31, b"/run/client".ljust(216, b"\0")): None,
}

REFUSED = {
    "another word": b"PROXIED ",
    "lower case": b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "LF alone": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
    "two spaces": b"PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "space at the end": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
    "tabulators": b"PROXY TCP4\t192.0.2.7\t10.0.0.1\t1\t2\r\n",
    "UDP": b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "no family": b"PROXY \r\n",
    "no addresses": b"PROXY TCP4\r\n",
    "three fields": b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
    "other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "other family 6": b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
    "second address": b"PROXY TCP4 192.0.2.7 here 1 2\r\n",
    "leading zero": b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "bytes": b"PROXY TCP4 192.0.2.\xb2 10.0.0.1 1 2\r\n",
    "port with a zero": b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
    "port with a sign": b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
    "large port": b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n",
    "second port": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
    "no end": b"PROXY UNKNOWN ".ljust(MAX_LINE, b"f"),
    "signature": b"\r\n\r\n\0\r\nQUIT\r",
    "line ends": b"\r\n\r\n\r\n",
    "version 1": block(0x11, 0x11, ADDRESSES4),
    "version 3": block(0x31, 0x11, ADDRESSES4),
    "command": block(0x22, 0x11, ADDRESSES4),
    "family": block(0x21, 0x41, ADDRESSES4),
    "transport": block(0x21, 0x13, ADDRESSES4),
    "too short for IPv4": block(0x21, 0x11, ADDRESSES4[:-1]),
    "too short for IPv6": block(0x21, 0x21, ADDRESSES6[:-1]),
    "too short for UNIX": block(0x21, 0x31, bytes(215)),
    "length": block(0x20, 0x00, bytes(MAX_BLOCK + 1)),
    "TLS": BEHIND,
}


def received(data: bytes, cuts: list[int]) -> tuple[ProxyHeader, bytes]:
    """Return the header of `data`, which arrives in pieces that end at `cuts`, and the bytes behind the header."""
    header, held, at = ProxyHeader(), b"", 0
    for cut in [*sorted(cuts), len(data)]:
        held, at = held + data[at:cut], max(at, cut)
        while held and not header.complete and (taken := header.feed(held[: header.wanted])):
            held = held[taken:]
    return header, held


@pytest.mark.parametrize("data", HEADERS, ids=lambda data: repr(data[:40]))
def test_a_header_in_any_pieces(data):
    whole = data + BEHIND
    for cuts in ([], [1], [12], [16], [len(data)], list(range(len(whole)))):
        header, rest = received(whole, cuts)
        assert (header.complete, header.source, rest) == (True, HEADERS[data], BEHIND)


@pytest.mark.parametrize("data", HEADERS, ids=lambda data: repr(data[:40]))
def test_a_header_without_its_last_byte_is_incomplete(data):
    header, rest = received(data[:-1], [])
    assert (header.complete, header.source, rest) == (False, None, b"")
    assert header.wanted > 0


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_header_is_refused(kind):
    for cuts in ([], list(range(len(REFUSED[kind])))):
        with pytest.raises(BadProxyHeader):
            received(REFUSED[kind], cuts)


def test_the_second_of_two_headers_is_not_taken():
    first, second = b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", b"PROXY TCP4 192.0.2.8 10.0.0.1 1 2\r\n"
    header, rest = received(first + second, [])
    assert (header.source, rest) == (("192.0.2.7", 1), second)


def test_the_first_byte_tells_a_header_from_tls():
    assert [begins_header(data) for data in (b"PROXY ", SIGNATURE, BEHIND, b"\x80\x2e\x01")] == [
        True,
        True,
        False,
        False,
    ]


MADE = st.sampled_from([*HEADERS, *REFUSED.values()])


@settings(max_examples=examples(300))
@given(
    st.one_of(st.binary(max_size=200), MADE), st.lists(st.integers(0, 240)), st.lists(st.integers(0, 60), max_size=2)
)
def test_any_bytes_in_any_pieces_have_one_result(data, cuts, changed):
    """Whole and in pieces, bytes give the same header or the same error, and no other exception."""
    spoiled = bytearray(data)
    for at in changed:
        if at < len(spoiled):
            spoiled[at] ^= 1 << at % 8

    def result(cuts):
        try:
            header, rest = received(bytes(spoiled), [min(cut, len(spoiled)) for cut in cuts])
        except BadProxyHeader:
            return None
        return header.complete, header.source, rest

    assert result(cuts) == result([])


def test_a_header_holds_no_more_than_its_greatest_size():
    header = ProxyHeader()
    data = block(0x20, 0x00, bytes(MAX_BLOCK)) + bytes(10**6)
    assert header.feed(data) == 16 + MAX_BLOCK
