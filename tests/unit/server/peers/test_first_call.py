"""First call on a connection: read whole or byte by byte, junk, and calls that never end."""

from __future__ import annotations

import pytest

from konnectivity.http2 import Http2Connection, Limits, Settings
from konnectivity_server.peers.first_call import MAX_FIRST_BYTES, FirstCall


def call(*fields: tuple[str, str]) -> bytes:
    """Return what a client sends up to the end of its first call's header fields."""
    client = Http2Connection(True, Settings(enable_push=0))
    heading = [(":method", "POST"), (":scheme", "https"), (":path", "/a"), (":authority", "b")]
    client.open_stream([*heading, *fields])
    return b"".join(client.take())


def reader() -> FirstCall:
    return FirstCall(Limits(), lambda: 0.0)


@pytest.mark.parametrize(
    ("fields", "tenants"),
    [((("tenant", "a"),), ["a"]), ((), []), ((("tenant", "a"), ("tenant", "b")), ["a", "b"])],
)
def test_the_tenants_of_the_first_call_are_known_at_its_last_byte(fields, tenants):
    data = call(*fields)
    assert reader().feed(data) == tenants
    first = reader()
    assert [first.feed(bytes((byte,))) for byte in data] == [None] * (len(data) - 1) + [tenants]
    assert first.data == data


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 20, bytes(MAX_FIRST_BYTES)])
def test_bytes_that_are_no_call_name_no_tenant(junk):
    assert reader().feed(junk) == []


def test_a_client_that_never_calls_is_read_up_to_a_bound():
    first = reader()
    data = Http2Connection(True, Settings(enable_push=0))
    assert first.feed(b"".join(data.take())) is None
    frame = bytes(3) + b"\xfe" + bytes(5)  # an empty frame of unknown type
    found = [first.feed(frame * 100) for _ in range(MAX_FIRST_BYTES // len(frame) // 100 + 1)]
    assert found[0] is None
    assert found[-1] == []
