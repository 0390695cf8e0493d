"""Messages survive any cut of the bytes they travel in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.grpc.framing import MAX_MESSAGE_SIZE, PREFIX, MessageReader
from konnectivity.grpc.status import Code, RpcError


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\0" + struct.pack(">L", len(message)) + message for message in messages)


def fed(reader: MessageReader, data: bytes) -> list[bytes]:
    return [bytes(message) for message in reader.feed(memoryview(data))]


@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(0, 20), max_size=40))
def test_any_cut(messages: list[bytes], sizes: list[int]) -> None:
    reader = MessageReader()
    line = framed(*messages)
    whole = 0
    read: list[bytes] = []
    for size in [*sizes, len(line)]:
        read += fed(reader, line[:size])
        line = line[size:]
        whole = len(framed(*read))
        assert reader.incomplete == (whole + len(line) != len(framed(*messages)))
    assert read == messages


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_byte_by_byte(messages: list[bytes]) -> None:
    reader = MessageReader()
    assert [message for byte in framed(*messages) for message in fed(reader, bytes((byte,)))] == messages


def test_the_prefix_is_what_a_message_is_sent_with() -> None:
    assert PREFIX.pack(0, 3) + b"abc" == framed(b"abc") == b"\0\0\0\0\3abc"


def test_a_message_in_one_piece_is_not_copied() -> None:
    data = framed(b"abc", b"def")
    assert [message.obj is data for message in MessageReader().feed(memoryview(data))] == [True, True]


def test_a_large_message_is_put_together_once() -> None:
    reader = MessageReader()
    line = framed(bytes(range(250)) * 4000) + framed(b"next")
    pieces = [line[at : at + 16_384] for at in range(0, len(line), 16_384)]
    assert [message for piece in pieces for message in fed(reader, piece)] == [bytes(range(250)) * 4000, b"next"]


def test_nothing_is_incomplete_between_messages() -> None:
    reader = MessageReader()
    assert not reader.incomplete
    assert fed(reader, framed(b"abc") + b"\0") == [b"abc"]
    assert reader.incomplete
    assert fed(reader, b"\0\0\0\0") == [b""]
    assert not reader.incomplete


@pytest.mark.parametrize("cut", [0, 1, 4])
def test_a_message_over_the_limit(cut: int) -> None:
    reader = MessageReader(10)
    assert fed(reader, framed(bytes(10))) == [bytes(10)]
    start = b"\0\0\0\0\x0b"
    assert fed(reader, start[:cut]) == []
    with pytest.raises(RpcError) as refused:
        fed(reader, start[cut:])
    assert refused.value.status.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.status.message == "grpc: received message larger than max (11 vs. 10)"


def test_the_usual_limit() -> None:
    assert MAX_MESSAGE_SIZE == 4_194_304
    assert fed(MessageReader(), b"\0\0\x40\0\0") == []
    with pytest.raises(RpcError, match="larger than max"):
        fed(MessageReader(), b"\0\0\x40\0\1")


@pytest.mark.parametrize("flag", [1, 255])
def test_a_compressed_message(flag: int) -> None:
    with pytest.raises(RpcError) as refused:
        fed(MessageReader(), bytes((flag,)) + framed(b"abc")[1:])
    assert refused.value.status.code is Code.UNIMPLEMENTED
