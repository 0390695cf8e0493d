"""Hand-made codec of DATA: it reads and writes the same bytes as the generated classes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from konnectivity.proto.client_pb2 import Data, Packet, PacketType
from konnectivity.wire import data_head, decode, decode_data
from konnectivity.wire.codec import varint
from support.examples import examples
from support.generated_packets import expected_fields, fields_of

connect_ids = (
    st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**31, 2**35 - 1, 2**35, 2**63 - 1, -1, -(2**63)])
    | st.integers(0, 1000)
    | st.integers(-(2**63), 2**63 - 1)
)
# The lengths at which a varint grows: of the payload, and of all that holds it.
sizes = st.sampled_from([1, 111, 112, 127, 128, 4096, 16_370, 16_383, 16_384])
payloads = st.binary(min_size=1, max_size=300) | sizes.map(bytes)


def data_packet(connect_id: int, payload: bytes, error: str = "") -> bytes:
    return Packet(type=PacketType.DATA, data=Data(connectID=connect_id, data=payload, error=error)).SerializeToString()


def long_varint(value: int, size: int) -> bytes:
    """Return a varint of at least `size` bytes, which the format allows."""
    size = max(size, 1, -(-value.bit_length() // 7))
    return bytes(value >> 7 * i & 0x7F | 0x80 for i in range(size - 1)) + bytes((value >> 7 * (size - 1),))


def agrees(message: bytes) -> bool:
    """Return whether the hand decoder knows the message, and check its result against the generated classes."""
    known = decode_data(memoryview(message))
    if known is None:
        return False
    packet = Packet.FromString(message)
    assert packet.type == PacketType.DATA
    assert packet.WhichOneof("payload") == "data"
    assert (packet.data.connectID, packet.data.data, packet.data.error) == (known[0], bytes(known[1]), "")
    assert packet.ByteSize() <= len(message)
    return True


# ---- encoding -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(connect_ids, payloads)
def test_data_is_what_the_generated_classes_write(connect_id: int, payload: bytes) -> None:
    assert data_head(connect_id, len(payload)) + payload == data_packet(connect_id, payload)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_as_short_as_it_can_be(value: int) -> None:
    encoded = varint(value)
    assert len(encoded) == max(1, -(-value.bit_length() // 7))
    assert encoded == long_varint(value, len(encoded))


@pytest.mark.parametrize("size", [65_536, 2_097_151, 2_097_152])
def test_large_payloads(size: int) -> None:
    message = memoryview(data_head(7, size) + bytes(size))
    packet = decode(message)
    assert packet is not None
    assert (packet.connect_id, packet.data) == (7, bytes(size))
    assert decode_data(message) in ((7, bytes(size)), None)


# ---- decoding DATA --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(connect_ids, payloads)
def test_data_that_the_generated_classes_write(connect_id: int, payload: bytes) -> None:
    message = memoryview(data_packet(connect_id, payload))
    if 0 <= connect_id < 2**35 and len(payload) < 2**21:
        known = decode_data(message)
        assert known == (connect_id, payload)
        assert known[1].obj is message.obj
    else:
        agrees(bytes(message))
        packet = decode(message)
        assert packet is not None
        assert (packet.connect_id, packet.data) == (connect_id, payload)


@pytest.mark.parametrize(
    "message",
    [
        data_packet(7, b""),
        data_packet(7, b"abc", error="odd"),
        data_packet(-7, b"abc"),
        data_packet(7, b"abc") + b"\x08\x04",  # the type twice
        data_packet(7, b"abc")[2:] + b"\x08\x04",  # the type last
        data_packet(7, b"abc") + b"\xfa\x06\x01x",  # a field from the future
        b"\x08\x04\x22\x07\x1a\x03abc\x08\x07",  # data before connectID
        b"\x08\x04\x22\x09\x08\x01\x08\x07\x1a\x03abc",  # connectID twice: the last counts
        b"\x08\x04\x22\x0a\x08\x07\x7a\x01x\x1a\x03abc",  # a field from the future inside
        b"\x08\x84\x00\x22\x07\x08\x07\x1a\x03abc",  # the type as a long varint
    ],
)
def test_unusual_data_is_left_to_the_general_decoder(message: bytes) -> None:
    assert decode_data(memoryview(message)) is None
    packet = decode(message)
    assert packet is not None
    assert packet.type == PacketType.DATA
    assert abs(packet.connect_id) == 7
    assert packet.data in (b"abc", b"")


lengths = st.integers(1, 5)


@given(st.integers(0, 2**20), st.integers(0, 300), lengths, st.integers(1, 9), lengths)
def test_varints_that_are_longer_than_they_need(
    connect_id: int, size: int, of_all: int, of_id: int, of_size: int
) -> None:
    inner = b"\x08" + long_varint(connect_id, of_id) + b"\x1a" + long_varint(size, of_size) + bytes(size)
    message = b"\x08\x04\x22" + long_varint(len(inner), of_all) + inner
    assert agrees(message) == (len(message) - size <= 16)
    packet = decode(message)
    assert packet is not None
    assert (packet.connect_id, packet.data) == (connect_id, bytes(size))


@given(connect_ids, st.binary(min_size=1, max_size=40), st.data())
def test_truncated_data_is_not_known(connect_id: int, payload: bytes, data: st.DataObject) -> None:
    message = data_packet(connect_id, payload)
    cut = data.draw(st.integers(0, len(message) - 1))
    assert decode_data(memoryview(message[:cut])) is None
    assert decode_data(memoryview(message + b"x")) is None


tampered = st.builds(
    lambda message, place, other: message[: place % len(message)] + other + message[place % len(message) + 1 :],
    st.builds(data_packet, connect_ids, st.binary(min_size=1, max_size=200)),
    st.integers(0, 12),
    st.binary(max_size=3),
)
data_start = st.binary(max_size=30).map(lambda rest: b"\x08\x04\x22" + rest)


@settings(max_examples=examples(1000))
@given(st.binary(max_size=20) | tampered | data_start)
@example(b"")
@example(b"\x08\x04\x22\x02\x08\x07\x1a\x04\x12\x02hi")  # DATA by type, whose payload is of another field
@example(b"\x08\x04\x22\x80")
def test_whatever_the_hand_decoder_knows_is_right(message: bytes) -> None:
    if agrees(message):
        packet = decode(message)
        assert packet is not None
        assert fields_of(packet) == expected_fields(message)


@pytest.mark.parametrize("size", range(16))
def test_short_messages(size: int) -> None:
    assert decode_data(memoryview(bytes(size))) is None
    assert decode_data(memoryview((b"\x08\x04\x22" + bytes(16))[:size])) is None
