"""Builders of packets, against the generated classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konnectivity import wire
from konnectivity.proto.client_pb2 import Packet, PacketType, ResetSide
from konnectivity.wire import PacketError, packet_types
from support.generated_packets import expected_fields, fields_of, payload_name

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def read(message: bytes) -> Packet:
    """Return a packet as the generated classes read it; check that they write, and `wire` reads, the same packet."""
    packet = Packet.FromString(message)
    assert packet.SerializeToString() == message
    decoded = wire.decode(message)
    assert decoded is not None
    assert fields_of(decoded) == expected_fields(message)
    assert wire.decode_data(memoryview(message)) is None
    return packet


@given(texts, numbers, texts)
def test_dial_req(address: str, random: int, protocol: str) -> None:
    packet = read(wire.dial_req(address, random, protocol))
    request = packet.dialRequest
    assert packet.type == PacketType.DIAL_REQ
    assert (request.address, request.random, request.protocol) == (address, random, protocol)
    assert read(wire.dial_req(address, random)).dialRequest.protocol == "tcp"


@given(numbers, numbers, texts)
def test_dial_rsp(random: int, connect_id: int, error: str) -> None:
    packet = read(wire.dial_rsp(random, connect_id, error))
    response = packet.dialResponse
    assert packet.type == PacketType.DIAL_RSP
    assert (response.random, response.connectID, response.error) == (random, connect_id, error)


@given(numbers, texts)
def test_close(connect_id: int, error: str) -> None:
    request = read(wire.close_req(connect_id))
    assert (request.type, request.closeRequest.connectID) == (PacketType.CLOSE_REQ, connect_id)
    response = read(wire.close_rsp(connect_id, error))
    assert response.type == PacketType.CLOSE_RSP
    assert (response.closeResponse.connectID, response.closeResponse.error) == (connect_id, error)


@given(numbers)
def test_close_dial(random: int) -> None:
    packet = read(wire.close_dial(random))
    assert (packet.type, packet.closeDial.random) == (PacketType.DIAL_CLS, random)


def test_drain() -> None:
    packet = read(wire.drain())
    assert (packet.type, packet.WhichOneof("payload")) == (PacketType.DRAIN, "drain")


@given(numbers, numbers)
def test_credit_and_data_end(connect_id: int, size: int) -> None:
    credit = read(wire.credit(connect_id, size))
    assert (credit.type, credit.credit.connectID, credit.credit.bytes) == (PacketType.CREDIT, connect_id, size)
    end = read(wire.data_end(connect_id, size))
    assert (end.type, end.dataEnd.connectID, end.dataEnd.total) == (PacketType.DATA_END, connect_id, size)


@given(numbers, st.sampled_from(ResetSide.values()), texts, numbers, numbers)
def test_reset(connect_id: int, side: int, reason: str, sent: int, received: int) -> None:
    packet = read(wire.reset(connect_id, side, reason, sent, received))
    body = packet.reset
    assert packet.type == PacketType.RESET
    assert (body.connectID, body.side, body.reason, body.sent, body.received) == (
        connect_id,
        side,
        reason,
        sent,
        received,
    )


@given(numbers, texts)
def test_stop(connect_id: int, reason: str) -> None:
    packet = read(wire.stop(connect_id, reason))
    assert (packet.type, packet.stop.connectID, packet.stop.reason) == (PacketType.STOP, connect_id, reason)


def test_server_count() -> None:
    packet = read(wire.server_count(3))
    assert (packet.type, packet.serverCount.count) == (PacketType.SERVER_COUNT, 3)


@pytest.mark.parametrize("whether", [True, False])
def test_ready(whether: bool) -> None:
    packet = read(wire.ready(whether))
    assert (packet.type, packet.ready.ready) == (PacketType.READY, whether)


def test_packets_of_the_established_wire() -> None:
    """Packets equal those of other implementations byte for byte."""
    assert wire.dial_req("node:80", 5) == b"\x12\x10\x0a\x03tcp\x12\x07node:80\x18\x05"
    assert wire.dial_rsp(5, 9) == b"\x08\x01\x1a\x04\x10\x09\x18\x05"
    assert wire.close_req(9) == b"\x08\x02\x2a\x02\x08\x09"
    assert wire.close_rsp(9, "x") == b"\x08\x03\x32\x05\x0a\x01x\x10\x09"
    assert wire.data_head(9, 3) + b"abc" == b"\x08\x04\x22\x07\x08\x09\x1a\x03abc"
    assert wire.close_dial(5) == b"\x08\x05\x3a\x02\x08\x05"
    assert wire.drain() == b"\x08\x06\x42\x00"


def described(message: bytes) -> str:
    packet = wire.decode(message)
    assert packet is not None
    return wire.describe(packet)


def test_a_packet_as_one_line() -> None:
    assert described(wire.dial_req("node:80", 5)) == 'DIAL_REQ {protocol: "tcp" address: "node:80" random: 5}'
    assert described(wire.drain()) == "DRAIN {}"
    assert described(wire.ready(True)) == "READY {ready: true}"
    assert described(wire.reset(7, 2, "gone", 0, 3)) == (
        'RESET {connectID: 7 side: RESET_SIDE_TARGET reason: "gone" received: 3}'
    )
    assert described(wire.reset(0, 9, "", -1, 0)) == "RESET {side: 9 sent: -1}"
    assert "\n" not in described(wire.stop(1, "two\nlines"))


@given(st.binary(max_size=60))
def test_any_packet_can_be_described(message: bytes) -> None:
    try:
        packet = wire.decode(message)
    except PacketError:
        return
    if packet is not None:
        assert len(wire.describe(packet).splitlines()) == 1


LONG = ["a" * 5_000, "\x01" * 1_025, "\u202e" * 400, "\U0001f600" * 300]


@pytest.mark.parametrize("text", LONG)
def test_a_text_is_cut_where_a_packet_is_made(text: str) -> None:
    for packet in (
        wire.dial_req(text, 1, text),
        wire.dial_rsp(1, 0, text),
        wire.close_rsp(1, text),
        wire.reset(1, 1, text, 0, 0),
        wire.stop(1, text),
    ):
        found = [value for value in packet_texts(Packet.FromString(packet)) if value]
        assert found
        assert all(len(value.encode()) <= 1024 and value.endswith("\u2026") for value in found)


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("kind", [number for name, number in PacketType.items()])
def test_every_text_of_every_packet_is_cut_where_it_is_decoded(kind: int, text: str) -> None:
    """The fields are read from the descriptors, so that a future field is not forgotten."""
    packet = Packet(type=kind)
    body = getattr(packet, payload_name(kind))
    body.SetInParent()
    names = [field.name for field in body.DESCRIPTOR.fields if field.type == field.TYPE_STRING]
    for name in names:
        setattr(body, name, text)
    decoded = wire.decode(packet.SerializeToString())
    assert decoded is not None
    found = [value for value in fields_of(decoded).values() if isinstance(value, str)]
    assert len(found) == len(names)
    assert all(len(value.encode()) <= 1024 and value.endswith("\u2026") for value in found)


def test_texts_that_are_short_enough_stay() -> None:
    for text in ("", "a" * 1024, "\u2026" * 341):
        assert read(wire.stop(1, text)).stop.reason == text


def test_a_surrogate_is_no_reason_to_fail() -> None:
    assert read(wire.stop(1, "a\udcff")).stop.reason == "a\\udcff"


def test_a_description_is_short() -> None:
    data = wire.Packet()
    data.type, data.data = packet_types.DATA, b"\x01" * 4_000_000
    assert wire.describe(data) == "DATA {connectID: 0 size: 4000000}"
    assert len(described(wire.reset(1, 1, "\x01" * 4_000_000, 0, 0))) < 5_000


def packet_texts(packet: Packet) -> list[str]:
    body = getattr(packet, str(packet.WhichOneof("payload")))
    return [getattr(body, field.name) for field in body.DESCRIPTOR.fields if field.type == field.TYPE_STRING]
