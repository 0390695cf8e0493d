"""Packets as the generated classes of protobuf read them: the oracle of the codec."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from konnectivity import wire
from konnectivity.proto.client_pb2 import Packet, PacketType
from konnectivity.untrusted.untrusted_text import cut
from konnectivity.wire import PacketError
from konnectivity.wire.packet_fields import PAYLOADS

_ATTRIBUTES = {"connectID": "connect_id", "bytes": "size"}  # where the attribute has another name than the field


def fields_of(packet: wire.Packet) -> dict[str, object]:
    """Return the type, the number of the payload and every field that is not zero, of a packet that `wire` decoded."""
    names = {attribute for _, fields in PAYLOADS.values() for attribute, _, _ in fields}
    values = {name: getattr(packet, name) for name in names}
    return {"type": packet.type, "payload": packet.payload} | {name: value for name, value in values.items() if value}


def expected_fields(message: bytes) -> dict[str, object] | None:
    """Return the fields that the generated classes read, as `fields_of` does; None if `wire` must return no packet."""
    try:
        packet = Packet.FromString(message)
    except DecodeError:
        return None
    payload = packet.WhichOneof("payload")
    if packet.type not in PacketType.values() or payload != payload_name(packet.type):
        return None
    body = getattr(packet, payload)
    values = {_ATTRIBUTES.get(field.name, field.name): getattr(body, field.name) for field in body.DESCRIPTOR.fields}
    known = {name: cut(value) if isinstance(value, str) else value for name, value in values.items() if value}
    return {"type": packet.type, "payload": Packet.DESCRIPTOR.fields_by_name[payload].number} | known


def may_be_refused(message: bytes, error: PacketError) -> bool:
    """Return whether the generated classes refuse the message too, or a group in it has a field with the number 0.

    In a group that they do not know, and only there, the generated classes accept such a field. They are built on
    protobuf's C library. Its Go library, which the reference uses, refuses the field everywhere.
    """
    return "a field has the number 0" in str(error) or expected_fields(message) is None


def payload_name(kind: int) -> str:
    """Return the name of the field in which a packet of this type has its payload."""
    long = {"REQ": "Request", "RSP": "Response", "CLS": "Dial", "DIAL": "dial", "CLOSE": "close"}
    if kind == PacketType.DIAL_CLS:
        return "closeDial"
    first, *rest = PacketType.Name(kind).split("_")
    return long.get(first, first.lower()) + "".join(long.get(word, word.capitalize()) for word in rest)
