"""Decoder of every packet, by the rules of protobuf. Pure.

Owns the bounds on a hostile packet: the number of its fields, the depth of its groups and the length of its texts. So
the work for a packet is bounded, but for the copies of its bytes.
"""

from __future__ import annotations

import struct

from konnectivity.untrusted.untrusted_text import MAX_BYTES, cut
from konnectivity.wire import packet_types
from konnectivity.wire.packet_fields import BOOL, BYTES, INT32, INT64, PAYLOADS, RANDOM, TEXT, Packet

Buffer = bytes | memoryview
FieldsByTag = dict[int, tuple[int, str]]  # tag -> kind, attribute of `Packet`

MAX_FIELDS = 256  # fields of one packet, known or not; no packet of this version has more than seven
MAX_DEPTH = 100  # payloads and unknown groups within each other, as in protobuf's C library
_PAYLOAD = BYTES + 1  # kind of a field that holds the payload
_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)  # wire types
_TYPE_TAG = 0x08  # Packet field 1, varint
_SIGN = 1 << 63
_unpack_nine = struct.Struct("9B").unpack_from

_IN_PACKET: FieldsByTag = {_TYPE_TAG: (INT32, "type")}
_IN_PAYLOAD: dict[int, FieldsByTag] = {}  # by the tag of the payload
_STARTS: dict[int, tuple[bytes, int, FieldsByTag]] = {}  # by type: usual first bytes; number, fields of payload
for _kind, (_number, _fields) in PAYLOADS.items():
    _tag = _number << 3 | _LENGTH
    _IN_PACKET[_tag] = _PAYLOAD, ""
    _IN_PAYLOAD[_tag] = {
        at << 3 | (_VARINT if kind < TEXT else _LENGTH): (kind, attribute)
        for at, (attribute, _, kind) in enumerate(_fields, 1)
    }
    _tag_bytes = bytes((_tag,) if _tag < 0x80 else (_tag & 0x7F | 0x80, _tag >> 7))
    _STARTS[_kind] = (bytes((_TYPE_TAG, _kind)) if _kind else b"") + _tag_bytes, _number, _IN_PAYLOAD[_tag]
_NO_START: tuple[bytes, int, FieldsByTag] = b"\x00", 0, {}


class PacketError(ValueError):
    """Message that is not a packet. The stream continues with the next message."""


def decode(message: Buffer) -> Packet | None:
    """Decode any packet; return None for an unknown type, which must be ignored.

    Texts are cut to `untrusted_text.MAX_BYTES`; a text that was longer ends in `untrusted_text.CUT`.

    Raises:
        PacketError: the message is not a packet, or has not the payload of its type.

    """
    data = bytes(message)
    packet = Packet()
    try:
        kind = data[1] if data[:1] == b"\x08" else packet_types.DIAL_REQ
        start, number, fields = _STARTS.get(kind, _NO_START)
        at = len(start)
        if data.startswith(start) and data[at] == len(data) - at - 1 < 0x80:  # the usual layout: type, short payload
            packet.type, packet.payload = kind, number
            _read(packet, data, at + 1, fields, MAX_FIELDS, MAX_DEPTH - 1)
            return packet
        _read(packet, data, 0, _IN_PACKET, MAX_FIELDS, MAX_DEPTH)
    except IndexError:
        raise PacketError("not a packet: a field is cut off, or a number is too long") from None
    except UnicodeDecodeError:
        raise PacketError("not a packet: a text is not UTF-8") from None
    expected = PAYLOADS.get(packet.type)
    if expected is None:
        return None
    if packet.payload != expected[0]:
        raise PacketError(f"{packet_types.NAMES[packet.type]} packet without its payload")
    return packet


def _read(packet: Packet, data: bytes, at: int, fields: FieldsByTag, room: int, depth: int) -> int:
    """Read at most `room` fields from an offset to the end of the data; return the number of fields left of `room`.

    Of a field that is repeated the last counts; a payload that is repeated is merged.
    """
    end = len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(data, at - 1, 5)
        room -= 1
        if tag not in fields or room < 0:
            at, room = _skip(data, at, tag, room, depth)
            continue
        kind, attribute = fields[tag]
        number = data[at]
        at += 1
        if number >= 0x80:
            number, at = _long_number(data, at - 1, kind)
        if kind < TEXT:
            if kind > INT64 or number >= _SIGN:
                number = _converted(kind, number)
            if kind == BOOL:
                setattr(packet, attribute, number != 0)
            else:
                setattr(packet, attribute, number)
            continue
        part = data[at : at + number]
        at += number
        if kind == TEXT:
            text = part.decode()
            setattr(packet, attribute, text if number <= MAX_BYTES else cut(text))
        elif kind == BYTES:
            setattr(packet, attribute, part)
        else:
            packet.begin_payload(tag >> 3)
            room = _read(packet, part, 0, _IN_PAYLOAD[tag], room, depth - 1)
    if at > end:
        raise IndexError
    return room


def _converted(kind: int, number: int) -> int:
    """Return the value of a varint field, whose upper bits do not count."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    if kind == BOOL:
        return number != 0
    if kind <= INT64:
        return number - (number >> 63 << 64)
    number &= 0xFFFF_FFFF
    return number - (number >> 31 << 32)


def _skip(data: bytes, at: int, tag: int, room: int, depth: int) -> tuple[int, int]:
    """Return the offset behind an unknown field, and the number of fields left of `room`: a group has several.

    Raises:
        IndexError: the data ends within the field.
        PacketError: the field is of no wire type, a group is not closed in order or too deep, or no field remains.

    """
    groups: list[int] = []  # tags of the ends of the open groups
    while True:
        wire_type = tag & 7
        if room < 0:
            raise PacketError(f"not a packet: more than {MAX_FIELDS} fields")
        if tag < 8:
            raise PacketError("not a packet: a field has the number 0")
        if tag > 0xFFFF_FFFF:
            raise PacketError("not a packet: a field number is out of range")
        if wire_type == _VARINT:
            _, at = _varint(data, at, 10)
        elif wire_type == _LENGTH:
            size, at = _varint(data, at, 5)
            at += size
        elif wire_type in (_FIXED32, _FIXED64):
            at += 4 if wire_type == _FIXED32 else 8
        elif wire_type == _GROUP and len(groups) < depth:
            groups.append(tag + 1)
        elif wire_type != _GROUP_END or not groups or groups.pop() != tag:
            raise PacketError("not a packet: a group is too deep or closed out of order, or a wire type is unknown")
        if not groups:
            return at, room
        tag, at = _varint(data, at, 5)
        room -= 1


def _long_number(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """Return the varint of two bytes or more at an offset, and the offset behind it.

    Most random numbers have nine bytes, which are read at once.
    """
    if data[at + 1] < 0x80:
        return data[at] + (data[at + 1] - 1 << 7), at + 2
    if kind == RANDOM and at + 9 <= len(data):
        a, b, c, d, e, f, g, h, last = _unpack_nine(data, at)
        if a & b & c & d & e & f & g & h >= 0x80 > last:
            low = a + (b - 1 << 7) + (c - 1 << 14) + (d - 1 << 21)
            high = e + (f - 1 << 7) + (g - 1 << 14) + (h - 1 << 21)
            return low + (high - 1 << 28) + (last - 1 << 56), at + 9
    return _varint(data, at, 10 if kind < TEXT else 5)


def _varint(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Return the varint of at most `most` bytes at an offset, and the offset behind it."""
    value = shift = 0
    for byte in data[at : at + most]:
        at += 1
        if byte < 0x80:
            return value + (byte << shift), at
        value += byte - 0x80 << shift
        shift += 7
    raise IndexError
