"""Builders of every packet but DATA, as message bytes; and a description for logs. Pure.

Texts are cut to `untrusted_text.MAX_BYTES`, which bounds the size of every packet built here.
"""

from __future__ import annotations

from typing import Any

from konnectivity.untrusted.untrusted_text import MAX_BYTES, cut, quoted
from konnectivity.wire import packet_types
from konnectivity.wire.codec import INT64_RANGE, long_varint, varint
from konnectivity.wire.packet_fields import BOOL, PAYLOADS, SIDE, TEXT, Packet

_SMALL = 1 << 28  # connection ids and sizes repeat below, so their varints are kept; random numbers do not
# Names of the enum ResetSide, by number.
_SIDES = ("RESET_SIDE_UNKNOWN", "RESET_SIDE_CLIENT", "RESET_SIDE_TARGET", "RESET_SIDE_SERVER", "RESET_SIDE_AGENT")
# packet type -> bytes before the length of the payload, and the tag of each field of the payload
_LAYOUTS: dict[int, tuple[bytes, tuple[bytes, ...]]] = {
    kind: (
        (b"\x08" + varint(kind) if kind else b"") + varint(number << 3 | 2),
        tuple(varint(at << 3 | 2 * (field[2] >= TEXT)) for at, field in enumerate(fields, 1)),
    )
    for kind, (number, fields) in PAYLOADS.items()
}


def _encode(kind: int, *values: int | str) -> bytes:
    """Return a packet of a type whose payload has these values, in the order of the fields."""
    start, tags = _LAYOUTS[kind]
    body = b""
    for tag, value in zip(tags, values, strict=True):
        if not value:
            continue
        if isinstance(value, str):
            text = value.encode("utf-8", "backslashreplace")
            if len(text) > MAX_BYTES:
                text = cut(value).encode()
            body += tag + varint(len(text)) + text
        elif 0 < value < _SMALL:
            body += tag + varint(value)
        else:
            body += tag + long_varint(value % INT64_RANGE)
    return start + varint(len(body)) + body


def dial_req(address: str, random: int, protocol: str = "tcp") -> bytes:
    """Return a DIAL_REQ: the peer is asked to connect to `address`."""
    return _encode(packet_types.DIAL_REQ, protocol, address, random)


def dial_rsp(random: int, connect_id: int = 0, error: str = "") -> bytes:
    """Return a DIAL_RSP: the connection is open, or `error` says why not."""
    return _encode(packet_types.DIAL_RSP, error, connect_id, random)


def close_req(connect_id: int) -> bytes:
    """Return a CLOSE_REQ: the connection ends."""
    return _encode(packet_types.CLOSE_REQ, connect_id)


def close_rsp(connect_id: int, error: str = "") -> bytes:
    """Return a CLOSE_RSP: the connection has ended."""
    return _encode(packet_types.CLOSE_RSP, error, connect_id)


def close_dial(random: int) -> bytes:
    """Return a DIAL_CLS: the dial is given up."""
    return _encode(packet_types.DIAL_CLS, random)


def drain() -> bytes:
    """Return a DRAIN: this side takes no new dials."""
    return _encode(packet_types.DRAIN)


def credit(connect_id: int, size: int) -> bytes:
    """Return a CREDIT: the peer may send `size` more bytes (extension)."""
    return _encode(packet_types.CREDIT, connect_id, size)


def data_end(connect_id: int, total: int) -> bytes:
    """Return a DATA_END: no data follows after `total` bytes (extension)."""
    return _encode(packet_types.DATA_END, connect_id, total)


def reset(connect_id: int, side: int, reason: str, sent: int, received: int) -> bytes:
    """Return a RESET: the connection broke on `side` (extension)."""
    return _encode(packet_types.RESET, connect_id, side, reason, sent, received)


def stop(connect_id: int, reason: str) -> bytes:
    """Return a STOP: the peer must send no more data (extension)."""
    return _encode(packet_types.STOP, connect_id, reason)


def server_count(count: int) -> bytes:
    """Return a SERVER_COUNT: number of servers in the set (extension)."""
    return _encode(packet_types.SERVER_COUNT, count)


def ready(whether: bool) -> bytes:
    """Return a READY: whether this server has agents that answer (extension)."""
    return _encode(packet_types.READY, whether)


def describe(packet: Packet) -> str:
    """Return one line for a log: the type and its payload's fields; of DATA the size."""
    if packet.type == packet_types.DATA:
        return f"DATA {{connectID: {packet.connect_id} size: {len(packet.data)}}}"
    _, fields = PAYLOADS[packet.type]
    values = ((name, kind, getattr(packet, attribute)) for attribute, name, kind in fields)
    body = " ".join(f"{name}: {_shown(kind, value)}" for name, kind, value in values if value)
    return f"{packet_types.NAMES[packet.type]} {{{body}}}"


def _shown(kind: int, value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if kind == SIDE and 0 <= value < len(_SIDES):
        return _SIDES[value]
    return str(value).lower() if kind == BOOL else str(value)
