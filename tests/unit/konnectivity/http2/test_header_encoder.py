"""Tests of the header encoder, whose blocks the decoder of the hpack library reads."""

from __future__ import annotations

import hpack
import pytest

from konnectivity.http2.header_encoder import HeaderEncoder

RESPONSE = [(":status", "200"), ("content-type", "application/grpc"), ("konnectivity-extension", "1; window=65536")]


@pytest.mark.parametrize(
    "headers",
    [
        RESPONSE,
        [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "here"), ("te", "trailers")],
        [("www-authenticate", "x"), ("a" * 300, "b" * 20_000), ("empty", ""), ("name", "\N{SNOWMAN}")],
        [],
    ],
)
def test_a_block_is_read_as_it_was_written(headers):
    assert hpack.Decoder(1 << 20).decode(HeaderEncoder().encode(headers)) == headers


def test_a_block_leaves_nothing_in_the_table_of_the_peer():
    decoder = hpack.Decoder()
    encoder = HeaderEncoder()
    for _ in range(3):
        assert decoder.decode(encoder.encode(RESPONSE)) == RESPONSE
    assert not decoder.header_table.dynamic_entries


def test_a_field_of_the_static_table_takes_one_byte():
    assert len(HeaderEncoder().encode([(":status", "200"), (":method", "POST")])) == 2


def test_a_smaller_table_of_the_peer_is_announced_once_and_a_larger_one_never():
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    decoder.max_allowed_table_size = 100
    encoder.limit_table(100)
    assert decoder.decode(encoder.encode(RESPONSE)) == RESPONSE
    assert decoder.header_table_size == 100
    assert encoder.encode([(":status", "200")]) == b"\x88"
    encoder.limit_table(1 << 20)
    decoder.max_allowed_table_size = 1 << 20
    assert decoder.decode(encoder.encode(RESPONSE)) == RESPONSE
    assert decoder.header_table_size == 4096


def test_the_smallest_and_the_last_of_several_changes_between_two_blocks_are_announced():
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for size in (50, 0, 60):
        encoder.limit_table(size)
    decoder.max_allowed_table_size = 60
    block = encoder.encode([(":status", "200")])
    assert block[:1] == b"\x20"
    assert decoder.decode(block) == [(":status", "200")]
    assert decoder.header_table_size == 60
