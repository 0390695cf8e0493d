"""Tests of the SOCKS5 handshake: what RFC 1928 and RFC 1929 ask for, in any pieces, and everything else refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konnectivity.forward import socks5
from konnectivity.forward.socks5 import SocksError, SocksHandshake
from support.examples import examples

GREETING = b"\x05\x01\x00"
DESTINATIONS = {
    b"\x01\x0a\x00\x00\x07\x28\x0a": "10.0.0.7:10250",
    b"\x04" + bytes.fromhex("fd000000000000000000000000000007") + b"\x01\xbb": "[fd00::7]:443",
    b"\x03\x0aprometheus\x23\x82": "prometheus:9090",
    b"\x03\x07fd00::7\x00\x50": "[fd00::7]:80",
}


def accepts(user, password):
    return (user, password) == (b"ann", b"secret")


def request(destination: bytes, command: int = 1) -> bytes:
    return bytes((5, command, 0)) + destination


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_destination_in_any_pieces(destination, size):
    handshake = SocksHandshake()
    data = GREETING + request(destination)
    answers = b"".join(handshake.receive(data[at : at + size]) for at in range(0, len(data), size))
    assert (handshake.destination, answers) == (DESTINATIONS[destination], b"\x05\x00")


def test_bytes_behind_the_request_are_for_the_destination():
    handshake = SocksHandshake()
    handshake.receive(GREETING + request(b"\x03\x01a\x00\x50") + b"\x16\x03\x01")
    assert (handshake.destination, handshake.rest(), handshake.rest()) == ("a:80", b"\x16\x03\x01", b"")


def test_a_user_and_password():
    handshake = SocksHandshake(accepts)
    assert handshake.receive(b"\x05\x02\x00\x02") == b"\x05\x02"
    assert handshake.receive(b"\x01\x03ann\x06secret") == b"\x01\x00"
    handshake.receive(request(b"\x03\x01a\x00\x50"))
    assert (handshake.destination, handshake.user) == ("a:80", "ann")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x05\x01\x00", b"\x05\xff"),
        (b"\x05\x01\x02\x01\x03ann\x05wrong", b"\x05\x02\x01\x01"),
        (b"\x05\x01\x02\x01\x00\x00", b"\x05\x02\x01\x01"),
        (b"\x05\x01\x02\x05", b"\x05\x02"),
    ],
)
def test_a_client_without_the_password_is_refused(data, answer):
    handshake = SocksHandshake(accepts)
    with pytest.raises(SocksError) as caught:
        handshake.receive(data)
    assert caught.value.answer == answer
    assert not handshake.destination


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (request(b"\x01\x7f\x00\x00\x01\x00\x50", command=2), socks5.COMMAND_NOT_SUPPORTED),
        (request(b"\x01\x7f\x00\x00\x01\x00\x50", command=3), socks5.COMMAND_NOT_SUPPORTED),
        (request(b"\x02\x7f\x00\x00\x01\x00\x50"), socks5.ADDRESS_NOT_SUPPORTED),
        (request(b"\x01\x7f\x00\x00\x01\x00\x00"), socks5.GENERAL_FAILURE),
        (request(b"\x03\x00\x00\x50"), socks5.HOST_UNREACHABLE),
        (request(b"\x03\x07a\r\nX: y\x00\x50"), socks5.HOST_UNREACHABLE),
        (request(b"\x03\x03a\x00b\x00\x50"), socks5.HOST_UNREACHABLE),
        (request(b"\x03\x04\xc3\xa4.a\x00\x50"), socks5.HOST_UNREACHABLE),
        (request(b"\x03\x05127.1\x00\x50"), socks5.HOST_UNREACHABLE),
    ],
)
def test_a_request_that_cannot_be_served_gets_its_code(data, code):
    handshake = SocksHandshake()
    with pytest.raises(SocksError) as caught:
        handshake.receive(GREETING + data)
    assert caught.value.answer == b"\x05\x00" + socks5.reply(code)


@given(st.binary(max_size=600), st.booleans())
@settings(max_examples=examples(400), deadline=None)
def test_any_bytes_wait_are_refused_or_name_a_destination(data, with_password):
    handshake = SocksHandshake(accepts if with_password else None)
    try:
        handshake.receive(b"\x05" + data)
    except SocksError as error:
        assert len(error.answer) in (0, 2, 4, 6, 10, 12, 14)
