"""Tests of server names in ClientHellos: whole, in any pieces and records, without a name, and what is none."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konnectivity.tls.client_hello import MAX_HELLO, BadClientHello, HelloReader
from support.examples import examples

NAMES = ["a.tenants.example", "A.Tenants.Example", "x" * 63 + ".example", "xn--bcher-kva.example"]


def client_hello(name, version=ssl.TLSVersion.TLSv1_3):
    """Return the first bytes of OpenSSL as a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    context.set_alpn_protocols(["konnectivity", "h2"])
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def records(message, size):
    """Return a handshake message in records of at most a size."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


def received(data, cuts=()):
    """Feed bytes in pieces that end at `cuts`; return the name, or None, and all that the reader holds."""
    reader, at, name = HelloReader(), 0, None
    for cut in [*sorted(cuts), len(data)]:
        if name is None:
            name = reader.feed(data[at:cut])
            at = max(at, cut)
    return name, bytes(reader.data)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [*NAMES, None])
def test_the_name_in_any_pieces_and_records(name, version):
    hello = client_hello(name, version)
    for data in (hello, *(records(hello[5:], size) for size in (1, 7, 200))):
        for cuts in ([], [1], [5], [6], list(range(len(data)))):
            assert received(data, cuts) == (name or "", data)
        assert received(data[:-1]) == (None, data[:-1])


def test_bytes_behind_the_hello_are_kept():
    hello = client_hello("a.example")
    assert received(hello + b"more") == ("a.example", hello + b"more")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak TLS"),
        (b"PRI * HTTP/2.0\r\n", "does not speak TLS"),
        (b"\x16\x02", "does not speak TLS"),
        (b"\x80\x2e\x01", "does not speak TLS"),
        (b"\x16\x03\x01\x00\x00", "does not speak TLS"),
        (b"\x16\x03\x01\x40\x01", "does not speak TLS"),
        (b"\x15\x03\x01\x00\x02\x01\x00", "does not speak TLS"),
        (b"\x16\x03\x01\x00\x04\x02", "first message is no ClientHello"),
        (records(b"\x01\x00\x00\x00", 9), "malformed"),
        (records(b"\x01\x00\x00\x24" + bytes(34) + b"\x05\x00", 9), "malformed"),
        (records(b"\x01\xff\xff\xff" + bytes(MAX_HELLO), 1), "longer than"),
        (records(b"\x01\xff\xff\xff" + bytes(MAX_HELLO), 9000), "longer than"),
    ],
)
def test_what_is_no_hello(data, why):
    for cuts in ([], list(range(len(data)))):
        with pytest.raises(BadClientHello, match=why):
            received(data, cuts)


HELLO = client_hello("a.example")


@settings(max_examples=examples(300))
@given(
    st.binary(max_size=60), st.integers(0, len(HELLO)), st.lists(st.integers(0, 700), max_size=5), st.integers(1, 99)
)
def test_any_bytes_have_one_result(noise, at, cuts, size):
    """Whole and in pieces, a spoiled ClientHello gives the same name or the same error, and no other exception."""
    spoiled = records(HELLO[5:at] + noise + HELLO[at + len(noise) :], size)

    def result(cuts):
        try:
            return received(spoiled, [min(cut, len(spoiled)) for cut in cuts])[0]
        except BadClientHello as error:
            return str(error)

    assert result(cuts) == result([])
