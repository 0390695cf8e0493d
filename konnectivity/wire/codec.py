"""Bytes <-> packets (docs/internals/protocol.md). DATA by hand, the rest by the generated classes. Pure."""

from __future__ import annotations

import struct
from functools import lru_cache

from google.protobuf.message import DecodeError

from konnectivity.proto.client_pb2 import Packet, PacketType
from konnectivity.untrusted.untrusted_text import cut

Buffer = bytes | memoryview

_DATA_START = b"\x08\x04\x22"  # type = DATA; field 4 (data), length-delimited
_CONNECT_ID = 0x08  # Data field 1, varint
_PAYLOAD = 0x1A  # Data field 3, length-delimited
_HEAD_SIZE = 16  # connectIDs below 2**35 and payloads below 2**21 bytes
_unpack_head = struct.Struct(">3s13B").unpack_from
_INT64 = 1 << 64

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
    PacketType.SERVER_COUNT: "serverCount",
    PacketType.READY: "ready",
}
_TEXTS_OF: dict[int, tuple[str, ...]] = {
    PacketType.DIAL_REQ: ("protocol", "address"),
    PacketType.DIAL_RSP: ("error",),
    PacketType.CLOSE_RSP: ("error",),
    PacketType.DATA: ("error",),
    PacketType.RESET: ("reason",),
    PacketType.STOP: ("reason",),
}


class PacketError(ValueError):
    """One message is no packet. It concerns this packet only: the stream goes on."""


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """Encode a non-negative integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=1024)  # a connection that carries much sends many packets of one size
def data_head(connect_id: int, size: int) -> bytes:
    """What stands before the payload in a DATA packet of `size` payload bytes (at least 1)."""
    connect = b"\x08" + varint(connect_id % _INT64) if connect_id else b""
    length = varint(size)
    inner = varint(len(connect) + 1 + len(length) + size)
    return b"".join((_DATA_START, inner, connect, b"\x1a", length))


def decode_data(message: memoryview) -> tuple[int, memoryview] | None:
    """(connectID, payload) if the message is a DATA packet in the usual layout; else None: ask `decode`.

    Usual is connectID then data, no other field, and no more than `_HEAD_SIZE` bytes before the payload.
    """
    total = len(message)
    head = _unpack_head(message if total >= _HEAD_SIZE else bytes(message).ljust(_HEAD_SIZE))
    if head[0] != _DATA_START:
        return None
    connect_id = 0
    try:
        # The varints are read in place: a call costs more than the reading. Each byte after the first takes with it
        # the continuation bit that the one before has left in the sum.
        byte = inner = head[1]
        at, shift = 2, 7  # one item for three bytes: `at` is two less than the place in the message
        while byte >= 0x80:
            byte = head[at]
            inner += byte - 1 << shift
            at, shift = at + 1, shift + 7
        if at + 2 + inner != total:
            return None
        if head[at] == _CONNECT_ID:
            byte = connect_id = head[at + 1]
            at, shift = at + 2, 7
            while byte >= 0x80:
                byte = head[at]
                connect_id += byte - 1 << shift
                at, shift = at + 1, shift + 7
        if head[at] != _PAYLOAD:
            return None
        byte = size = head[at + 1]
        at, shift = at + 2, 7
        while byte >= 0x80:
            byte = head[at]
            size += byte - 1 << shift
            at, shift = at + 1, shift + 7
    except IndexError:
        return None
    return (connect_id, message[at + 2 :]) if at + 2 + size == total else None


def decode(message: Buffer) -> Packet | None:
    """Decode any packet by the generated classes; return None for a type this side does not know, to be ignored.

    Its texts are cut to `foreign_text.MAX_BYTES`; one that was longer ends in `foreign_text.CUT`.

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
    for name in _TEXTS_OF.get(packet.type, ()):
        payload = getattr(packet, expected)
        text = getattr(payload, name)
        if (short := cut(text)) is not text:
            setattr(payload, name, short)
    return packet
