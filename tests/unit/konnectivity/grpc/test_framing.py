"""Framing of messages that arrive in bytes cut at any place."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity.grpc.framing import MAX_MESSAGE_SIZE, PREFIX, PREFIX_SIZE, MessageReader
from konnectivity.grpc.status import Code


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
    assert fed(reader, start[cut:]) == []
    assert reader.fault is not None
    assert reader.fault.status.code is Code.RESOURCE_EXHAUSTED
    assert reader.fault.status.message == "grpc: received message larger than max (11 vs. 10)"


def test_the_usual_limit() -> None:
    assert MAX_MESSAGE_SIZE == 4_194_304
    reader = MessageReader()
    assert fed(reader, b"\0\0\x40\0\0") == []
    assert reader.fault is None
    reader = MessageReader()
    assert fed(reader, b"\0\0\x40\0\1") == []
    assert "larger than max" in str(reader.fault)


@pytest.mark.parametrize("flag", [1, 255])
def test_a_compressed_message_and_what_came_before_it(flag: int) -> None:
    reader = MessageReader()
    assert fed(reader, framed(b"plain") + bytes((flag,)) + framed(b"abc")[1:]) == [b"plain"]
    assert reader.fault is not None
    assert reader.fault.status.code is Code.UNIMPLEMENTED


def test_a_message_byte_by_byte_holds_little_more_than_its_size() -> None:
    """Each byte arrives in a large read, as one of many small DATA frames."""
    reader = MessageReader()
    read = memoryview(PREFIX.pack(0, 100_000) + bytes(64 * 1024))
    fed(reader, bytes(read[:PREFIX_SIZE]))
    tracemalloc.start()
    for _ in range(50_000):
        assert reader.feed(read[-1:]) == []
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.held == PREFIX_SIZE + 50_000
    assert used < 4 * 50_000


def test_more_empty_messages_than_anybody_needs() -> None:
    reader = MessageReader()
    assert fed(reader, framed(*[b""] * 600)) == [b""] * 600
    assert reader.fault is None
    assert fed(reader, framed(b"a", *[b""] * 1000)) == [b"a", *[b""] * 400]
    assert reader.fault is not None
    assert (reader.fault.status.code, reader.limit) == (Code.RESOURCE_EXHAUSTED, "empty_messages")


def test_more_empty_messages_byte_by_byte() -> None:
    reader = MessageReader()
    assert sum(len(fed(reader, bytes((byte,)))) for byte in framed(*[b""] * 1001)) == 1000
    assert reader.limit == "empty_messages"


@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_a_message_in_small_reads_holds_about_its_size(size: int) -> None:
    reader = MessageReader()
    reader.feed(memoryview(PREFIX.pack(0, 100_000)))
    tracemalloc.start()
    try:
        for _ in range(50_000 // size):
            reader.feed(memoryview(bytes(size)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 110_000
