"""Encoding and decoding of packets: DATA by hand, every other type by the generated classes. Pure."""

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
    """Message that is not a packet. The stream continues with the next message."""


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """Encode a non-negative integer as a protobuf varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=1024)  # a busy connection sends many packets of one size
def data_head(connect_id: int, size: int) -> bytes:
    """Return the bytes before the payload in a DATA packet of `size` payload bytes (at least 1)."""
    connect = b"\x08" + varint(connect_id % _INT64) if connect_id else b""
    length = varint(size)
    inner = varint(len(connect) + 1 + len(length) + size)
    return b"".join((_DATA_START, inner, connect, b"\x1a", length))


def decode_data(message: memoryview) -> tuple[int, memoryview] | None:
    """Return the connectID and the payload of a DATA packet in the usual layout; None: use `decode`.

    The usual layout is connectID and then data, no other field, and at most `_HEAD_SIZE` bytes before the payload.
    """
    total = len(message)
    head = _unpack_head(message if total >= _HEAD_SIZE else bytes(message).ljust(_HEAD_SIZE))
    if head[0] != _DATA_START:
        return None
    connect_id = 0
    try:
        # The varints are read in place, because a call costs more than the reading. `byte - 1` removes the continuation
        # bit that the byte before has left in the sum.
        byte = inner = head[1]
        at, shift = 2, 7  # the first item of `head` has three bytes: `at` is two less than the offset
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
    """Decode any packet by the generated classes; return None for an unknown type, which must be ignored.

    Texts are cut to `untrusted_text.MAX_BYTES`; a text that was longer ends in `untrusted_text.CUT`.

    Raises:
        PacketError: the message is not a packet, or has not the payload of its type.

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
