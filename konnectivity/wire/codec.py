"""Encoding and decoding of DATA, the packet of the hot path, in its usual layout. Pure."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

_DATA_START = b"\x08\x04\x22"  # type = DATA; field 4 (data), length-delimited
_CONNECT_ID: Final = 0x08  # Data field 1, varint
_PAYLOAD: Final = 0x1A  # Data field 3, length-delimited
_HEAD_SIZE: Final = 16  # connectIDs below 2**35 and payloads below 2**21 bytes
_unpack_head = struct.Struct(">3s13B").unpack_from
INT64_RANGE = 1 << 64  # added to a negative number before it is encoded


def long_varint(value: int) -> bytes:
    """Encode a non-negative integer that is not likely to be encoded again as a protobuf varint."""
    if 1 << 56 <= value < 1 << 63:  # most random numbers of dials: nine bytes, written at once
        a, b = value & 0xFFF_FFFF, value >> 28 & 0xFFF_FFFF
        low = a & 0x7F | 0x80, a >> 7 & 0x7F | 0x80, a >> 14 & 0x7F | 0x80, a >> 21 | 0x80
        high = b & 0x7F | 0x80, b >> 7 & 0x7F | 0x80, b >> 14 & 0x7F | 0x80, b >> 21 | 0x80
        return bytes((*low, *high, value >> 56))
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """Encode a non-negative integer as a protobuf varint, and keep the result for the next call."""
    return long_varint(value)


@lru_cache(maxsize=1024)  # a busy connection sends many packets of one size
def data_head(connect_id: int, size: int) -> bytes:
    """Return the bytes before the payload in a DATA packet of `size` payload bytes (at least 1)."""
    connect = b"\x08" + varint(connect_id % INT64_RANGE) if connect_id else b""
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
