"""Decoder of header blocks against the library's, and its limits."""

from __future__ import annotations

import hpack
import pytest
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.http2 import header_decoder
from konnectivity.http2.header_decoder import HeaderBlockError, HeaderDecoder, OversizedFieldsError, TooManyFieldsError

names = st.sampled_from([b":path", b"te", b"x", b"a-long-name" * 9]) | st.binary(min_size=1, max_size=20)
values = st.sampled_from([b"", b"trailers", b"v" * 200]) | st.binary(max_size=40)
fields = st.lists(st.tuples(names, values), max_size=20)


def new_decoder(list_bytes: int = 1 << 16, most_fields: int = 1 << 16) -> HeaderDecoder:
    return HeaderDecoder(list_bytes, most_fields)


@given(st.lists(st.tuples(fields, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=5))
def test_what_the_library_encodes(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    encoder, decoder = hpack.Encoder(), new_decoder()
    for headers, huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == headers


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_what_they_are_to_the_library(blocks: list[bytes]) -> None:
    ours, theirs = new_decoder(), hpack.Decoder()
    for block in blocks:
        try:
            expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)]
        except HPACKError:
            with pytest.raises(HeaderBlockError):
                ours.decode(block)
            return
        if block[:1] >= b"\x20" and block[:1] < b"\x40":  # the library takes any number of size updates
            return
        assert ours.decode(block) == expected


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\x01",
        b"\xbe",
        b"\x40",
        b"\x40\x03ab",
        b"\x00\x01a",
        b"\x00\x01a\x7f\xff\xff\xff\xff\x0f",
        b"\x82\x20",
        b"\x20\x20\x20\x82",
        b"\x3f\xe2\x1f",
        b"\x00\x81\x00\x00",
    ],
)
def test_malformed_blocks(block: bytes) -> None:
    with pytest.raises(HeaderBlockError):
        new_decoder().decode(block)


def test_two_updates_of_the_tables_size() -> None:
    decoder = new_decoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
    with pytest.raises(HeaderBlockError):
        decoder.decode(b"\xbe")  # the table was emptied


def test_the_number_of_fields() -> None:
    assert len(new_decoder(most_fields=3).decode(b"\x82" * 3)) == 3
    with pytest.raises(TooManyFieldsError):
        new_decoder(most_fields=3).decode(b"\x82" * 4)


def test_the_size_of_all_fields() -> None:
    assert len(new_decoder(list_bytes=2 * 42).decode(b"\x82" * 2)) == 2
    with pytest.raises(OversizedFieldsError):
        new_decoder(list_bytes=2 * 42).decode(b"\x82" * 3)


def test_work_grows_with_fields_and_bytes() -> None:
    decoder = new_decoder()
    decoder.decode(b"\x82" * 10)
    few = decoder.work
    assert 10 <= few < 20
    decoder.decode(hpack.Encoder().encode([("a", "x" * 8000)], huffman=False))
    plain = decoder.work - few
    assert plain > 50
    decoder.decode(hpack.Encoder().encode([("a", "x" * 8000)]))
    assert decoder.work - few - plain > 10 * plain


def test_connections_that_begin_with_the_same_block_have_separate_tables():
    encoder = hpack.Encoder()
    first = encoder.encode([("name", "shared"), ("other", "one")])
    encoder.encode([("third", "mine")])
    again = encoder.encode([("third", "mine"), ("name", "shared")])
    one, two, three = new_decoder(), new_decoder(), new_decoder()
    for decoder in (one, two, three):
        assert decoder.texts(first) == [("name", "shared"), ("other", "one")]
        assert decoder.work == one.work
    one.texts(hpack.Encoder().encode([("third", "mine")]))
    assert one.texts(again) == [("third", "mine"), ("name", "shared")]
    two.texts(hpack.Encoder().encode([("third", "yours")]))
    assert two.texts(again) == [("third", "yours"), ("name", "shared")]
    with pytest.raises(HeaderBlockError):
        three.texts(again)


def test_a_first_block_with_a_credential_is_not_kept():
    for field, is_kept in (("Authorization", False), ("name", True)):
        decoder = new_decoder()
        block = hpack.Encoder().encode([("a", "b"), (field, "x")])
        decoder.texts(block)
        key = block, decoder._list_bytes, decoder._fields
        assert (key in header_decoder._first_blocks) == is_kept
