"""Tests of the decoder of packets, which reads messages as the generated classes of protobuf do, within bounds."""

from __future__ import annotations

import time

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from konnectivity.proto.client_pb2 import CloseRequest, DialRequest, Packet, PacketType, ResetSide
from konnectivity.tunnel import sides
from konnectivity.wire import PacketError, decode, packet_types
from konnectivity.wire.codec import varint
from konnectivity.wire.packet_fields import BOOL, BYTES, INT32, INT64, PAYLOADS, RANDOM, SIDE, TEXT
from konnectivity.wire.packet_reader import MAX_FIELDS
from support.examples import examples
from support.generated_packets import expected_fields, fields_of, may_be_refused, payload_name

GENERATED_KINDS = {
    FieldDescriptor.TYPE_INT64: (INT64, RANDOM),
    FieldDescriptor.TYPE_INT32: (INT32,),
    FieldDescriptor.TYPE_BOOL: (BOOL,),
    FieldDescriptor.TYPE_ENUM: (SIDE,),
    FieldDescriptor.TYPE_STRING: (TEXT,),
    FieldDescriptor.TYPE_BYTES: (BYTES,),
}


SLOW = [HealthCheck.too_slow]  # messages have parts within parts, and a busy machine generates them slowly


def agrees(message: bytes) -> bool:
    """Check that a message is read as by the generated classes; return whether it is a packet."""
    try:
        packet = decode(memoryview(message))
    except PacketError as error:
        assert may_be_refused(message, error)
        return False
    assert (fields_of(packet) if packet is not None else None) == expected_fields(message)
    return packet is not None


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_types_are_those_of_the_generated_classes() -> None:
    assert {name: number for number, name in packet_types.NAMES.items()} == dict(PacketType.items())
    assert {name: getattr(packet_types, name) for name in PacketType.keys()} == dict(PacketType.items())  # noqa: SIM118
    assert {f"RESET_SIDE_{name.upper()}": number for number, name in sides.NAMES.items()} == dict(ResetSide.items())


def test_the_table_has_the_fields_of_the_generated_classes() -> None:
    assert set(PAYLOADS) == set(PacketType.values())
    for kind, (number, fields) in PAYLOADS.items():
        payload = Packet.DESCRIPTOR.fields_by_number[number]
        assert payload.name == payload_name(kind)
        generated = payload.message_type.fields
        assert [field.number for field in generated] == list(range(1, len(fields) + 1))
        assert [name for _, name, _ in fields] == [field.name for field in generated]
        assert all(row[2] in GENERATED_KINDS[field.type] for row, field in zip(fields, generated, strict=True))


# ---- agreement ------------------------------------------------------------------------------------------------------

numbers = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**28, 2**31, 2**56, 2**63 - 1, 2**63, 2**64 - 1]) | (
    st.integers(0, 2**64 - 1)
)


def long_varint(value: int, size: int) -> bytes:
    """Return a varint of at least `size` bytes."""
    size = max(size, 1, -(-value.bit_length() // 7))
    return bytes(value >> 7 * i & 0x7F | 0x80 for i in range(size - 1)) + bytes((value >> 7 * (size - 1),))


varints = st.builds(long_varint, numbers, st.sampled_from([1, 1, 1, 2, 5, 6, 9, 10, 11])) | st.binary(
    min_size=10, max_size=10
).map(lambda data: bytes(byte | 0x80 for byte in data[:9]) + bytes((data[9] & 0x7F,)))
small_sizes = st.sampled_from([1, 1, 1, 1, 2, 5, 6])


def tag(number: int, wire_type: int, size: int = 1) -> bytes:
    return long_varint(number << 3 | wire_type, size)


field_numbers = st.sampled_from([1, 2, 3, 4, 5, 15, 16, 2**29 - 1, 2**29]) | st.integers(0, 200)


def fields(numbers: st.SearchStrategy[int], bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return single fields of any wire type, most of them well-formed."""
    delimited = st.builds(
        lambda number, body, a, b: tag(number, 2, a) + long_varint(len(body), b) + body,
        numbers,
        bodies,
        small_sizes,
        small_sizes,
    )
    return (
        st.builds(lambda number, value, size: tag(number, 0, size) + value, numbers, varints, small_sizes)
        | delimited
        | delimited
        | st.builds(lambda number, body: tag(number, 1) + body, numbers, st.binary(min_size=8, max_size=8))
        | st.builds(lambda number, body: tag(number, 5) + body, numbers, st.binary(min_size=4, max_size=4))
        | st.builds(lambda number, body: tag(number, 3) + body + tag(number, 4), numbers, bodies)
        | st.builds(tag, numbers, st.integers(3, 7))
    )


texts = st.sampled_from([b"", b"tcp", b"\xff", b"\xed\xa0\x80", "\u20ac\0".encode(), b"a" * 1024, b"a" * 1025])
inner = st.lists(fields(st.integers(1, 6), texts | st.binary(max_size=5)), max_size=6).map(b"".join)
types = (st.sampled_from(PacketType.values()) | st.integers(0, 2**64 - 1)).map(lambda kind: b"\x08" + varint(kind))
payload_numbers = st.sampled_from([number for number, _ in PAYLOADS.values()])
outer = st.lists(types | fields(payload_numbers, inner) | fields(field_numbers, inner), max_size=6).map(b"".join)
# One type with its payload at the end, so that most messages are packets.
endings = st.sampled_from(list(PAYLOADS)).flatmap(
    lambda kind: inner.map(lambda body: b"\x08" + varint(kind) + tag(PAYLOADS[kind][0], 2) + varint(len(body)) + body)
)
messages = st.builds(lambda start, end: start + end, outer | st.just(b""), endings) | outer
broken = st.builds(
    lambda message, place, other: (
        message[: place % (len(message) + 1)] + other + message[place % (len(message) + 1) + 1 :]
    ),
    messages.filter(bool),
    st.integers(0, 300),
    st.binary(max_size=2),
)


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=SLOW)
@given(messages)
@example(b"")
@example(b"\x08")
@example(b"\x0b\x00\t" + bytes(8) + b"\x0c\x08\x00\x12\x00")  # a field with the number 0 in a group
@example(b"\x12\x02\x18\x05\x12\x03\x0a\x01x")  # a payload twice: merged
@example(b"\x12\x02\x18\x05\x2a\x02\x08\x01\x12\x03\x0a\x01x")  # another payload between: not merged
@example(b"\x12\x03\x0a\x01\xff\x12\x00")  # a bad text in a payload that does not count
def test_messages_are_read_as_by_the_generated_classes(message: bytes) -> None:
    agrees(message)


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=SLOW)
@given(broken | st.binary(max_size=60))
def test_broken_messages_are_refused_as_by_the_generated_classes(message: bytes) -> None:
    agrees(message)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=SLOW)
@given(endings, st.data())
def test_a_message_that_is_cut_off_is_read_as_by_the_generated_classes(message: bytes, data: st.DataObject) -> None:
    agrees(message[: data.draw(st.integers(0, len(message)))])


def test_every_packet_is_read_in_full() -> None:
    """A packet of each type has every field set, in the usual layout and with the type behind the payload."""
    for kind, (number, rows) in PAYLOADS.items():
        body = b"".join(
            tag(at, 2) + b"\x02hi" if row[2] >= TEXT else tag(at, 0) + long_varint(2**63 - at, 9)
            for at, row in enumerate(rows, 1)
        )
        payload = tag(number, 2) + varint(len(body)) + body
        assert agrees(b"\x08" + varint(kind) + payload)
        assert agrees(payload + b"\x08" + varint(kind))
        packet = decode(b"\x08" + varint(kind) + payload)
        assert packet is not None
        assert len(fields_of(packet)) == 2 + len(rows)


def test_messages_that_are_no_packets_are_refused() -> None:
    for message in (b"\xff", b"\x22\x05abc", b"\x12\x03\x0a\x01\xff", b"\x00\x01", b"\x0f"):
        with pytest.raises(DecodeError):
            Packet.FromString(message)
        with pytest.raises(PacketError, match="not a packet: "):
            decode(message)


def test_a_type_from_the_future_is_ignored() -> None:
    assert decode(b"\x08\x07") is None
    assert decode(b"\x08\xe8\x07\x22\x02\x08\x01") is None


@pytest.mark.parametrize("kind", PacketType.values())
def test_a_packet_without_its_payload(kind: int) -> None:
    other = {"closeRequest": CloseRequest(connectID=3)}
    if kind == PacketType.CLOSE_REQ:
        other = {"dialRequest": DialRequest(random=3)}
    for packet in (Packet(type=kind), Packet(type=kind, **other)):
        with pytest.raises(PacketError, match=f"^{PacketType.Name(kind)} packet without its payload$"):
            decode(packet.SerializeToString())


# ---- bounds ---------------------------------------------------------------------------------------------------------

DRAIN = b"\x08\x06\x42\x00"


@pytest.mark.parametrize("depth", [99, 100, 101])
def test_groups_are_as_deep_as_for_the_generated_classes(depth: int) -> None:
    groups = tag(15, 3) * depth + tag(15, 4) * depth
    assert agrees(DRAIN + groups) == (depth <= 100)
    assert agrees(b"\x08\x06\x42" + varint(len(groups)) + groups) == (depth <= 99)
    assert not agrees(DRAIN + tag(15, 3) * depth)


@pytest.mark.parametrize(
    "field", [b"\x00\x01", b"\x01" + bytes(8), b"\x02\x00", b"\x03\x04", b"\x05" + bytes(4), b"\x80\x00\x01"]
)
def test_no_field_has_the_number_0(field: bytes) -> None:
    """A field with the number 0 is refused everywhere; the generated classes accept it in a group."""
    group = tag(15, 3) + field + tag(15, 4)
    for part in (field, group):
        for message in (DRAIN + part, b"\x08\x06\x42" + varint(len(part)) + part):
            with pytest.raises(PacketError, match=r"^not a packet: a field has the number 0$"):
                decode(message)
    with pytest.raises(DecodeError):
        Packet.FromString(DRAIN + field)
    assert agrees(DRAIN + tag(15, 3) + tag(1, 0) + b"\x01" + tag(2**29 - 1, 2) + b"\x00" + tag(15, 4))
    assert not agrees(DRAIN + tag(15, 3) + tag(2**29, 2) + b"\x00" + tag(15, 4))


@pytest.mark.parametrize(
    "field", [b"\x78\x00", b"\x7a\x00", b"\x7b\x7c", b"\x08\x06", b"\x42\x00", b"\x42\x02\x78\x00"]
)
def test_a_packet_has_a_bounded_number_of_fields(field: bytes) -> None:
    """Unknown fields, groups, and known fields that are repeated count alike, in the packet and in its payload."""
    few, many = field * 100, field * (MAX_FIELDS + 1)
    assert agrees(few + DRAIN)
    assert agrees(b"\x08\x06\x42" + varint(len(few)) + few)
    for message in (many + DRAIN, b"\x08\x06\x42" + varint(len(many)) + many):
        with pytest.raises(PacketError, match=f"more than {MAX_FIELDS} fields"):
            decode(message)


@pytest.mark.parametrize("field", [b"\x78\x00", b"\x7b", b"\x7b\x7c", b"\x42\x02\x78\x00", b"\x12\x02\x18\x01"])
def test_a_hostile_packet_costs_little(field: bytes) -> None:
    """A packet of 900 KB is refused within 5 ms of CPU time, however many fields it has."""
    message = field * (900_000 // len(field))
    times = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(PacketError):
            decode(message)
        times.append(time.thread_time() - began)
    assert min(times) < 5e-3
