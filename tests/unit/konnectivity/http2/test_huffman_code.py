"""Tests of the Huffman code of header strings, compared with the hpack library."""

from __future__ import annotations

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from konnectivity.http2 import huffman_code

encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(bytes(range(256)))
def test_strings_that_the_library_encodes_are_decoded(text: bytes) -> None:
    assert huffman_code.decode(encoder.encode(text)) == text


endings = st.lists(st.sampled_from([0xFF, 0xFE, 0xFC, 0x7F, 0x00]), max_size=5).map(bytes)


@given(st.binary(max_size=20), st.binary(max_size=8), endings)
@example(b"", b"", b"\xff\xff\xff\xff")  # the end-of-string symbol
def test_codes_that_the_library_refuses_are_refused(text: bytes, other: bytes, ending: bytes) -> None:
    for data in (encoder.encode(text)[:-1], encoder.encode(text) + ending, other + ending):
        try:
            expected = decode_huffman(data)
        except hpack.HPACKError:
            with pytest.raises(ValueError):
                huffman_code.decode(data)
        else:
            assert huffman_code.decode(data) == expected
