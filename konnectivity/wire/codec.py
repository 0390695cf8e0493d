"""Bytes <-> packets (docs/protocol.md). DATA by hand, the rest by the generated classes. Pure."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from konnectivity.proto.client_pb2 import Packet, PacketType

Buffer = bytes | memoryview

_DATA_START = b"\x08\x04\x22"  # type = DATA; field 4 (data), length-delimited
_CONNECT_ID = 0x08  # Data field 1, varint
_PAYLOAD = 0x1A  # Data field 3, length-delimited
_INT64 = 1 << 64
_SIGN = 1 << 63

_PAYLOAD_OF: dict[int, str] = {
    PacketType.DIAL_REQ: "dialRequest",
    PacketType.DIAL_RSP: "dialResponse",
    PacketType.CLOSE_REQ: "closeRequest",
    PacketType.CLOSE_RSP: "closeResponse",
    PacketType.DATA: "data",
    PacketType.DIAL_CLS: "closeDial",
    PacketType.DRAIN: "drain",
    PacketType.CREDIT: "credit",
    PacketType.DATA_END: "dataEnd",
    PacketType.RESET: "reset",
    PacketType.STOP: "stop",
}


class PacketError(ValueError):
    """One message is no packet. It concerns this packet only: the stream goes on."""


def varint(value: int) -> bytes:
    """Encode a non-negative integer."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: Buffer, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value = byte & 0x7F
    shift = 7
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
        if shift > 63:
            raise IndexError("varint too long")


def data_head(connect_id: int, size: int) -> bytes:
    """What stands before the payload in a DATA packet of `size` payload bytes (at least 1)."""
    connect = b"\x08" + varint(connect_id % _INT64) if connect_id else b""
    length = varint(size)
    inner = len(connect) + 1 + len(length) + size
    return b"".join((_DATA_START, varint(inner), connect, b"\x1a", length))


def decode_data(message: memoryview) -> tuple[int, memoryview] | None:
    """(connectID, payload) if the message is a DATA packet in the usual layout; else None: ask `decode`."""
    if message[:3] != _DATA_START:
        return None
    try:
        inner, position = _read_varint(message, 3)
        end = len(message)
        if position + inner != end:
            return None
        connect_id = 0
        if message[position] == _CONNECT_ID:
            connect_id, position = _read_varint(message, position + 1)
        if message[position] != _PAYLOAD:
            return None
        size, position = _read_varint(message, position + 1)
    except IndexError:
        return None
    if position + size != end or connect_id >= _INT64:
        return None
    if connect_id >= _SIGN:
        connect_id -= _INT64
    return connect_id, message[position:]


def decode(message: Buffer) -> Packet | None:
    """Any packet by the generated classes; None for a type this side does not know, which is to be ignored.

    Raises:
        PacketError: not a packet, or its payload is not the one its type asks for.
    """
    packet = Packet()
    try:
        packet.ParseFromString(bytes(message))
    except DecodeError as error:
        raise PacketError(f"not a packet: {error}") from error
    expected = _PAYLOAD_OF.get(packet.type)
    if expected is None:
        return None
    if packet.WhichOneof("payload") != expected:
        raise PacketError(f"{PacketType.Name(packet.type)} packet without its payload")
    return packet
