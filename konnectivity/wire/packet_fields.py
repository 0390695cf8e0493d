"""Decoded packet, and the one table of the fields of every packet, which reader, writer and log share. Pure.

The numbers and kinds are those of proto/konnectivity/proto/client.proto; a test compares the table with the generated
classes.
"""

from __future__ import annotations

from konnectivity.wire import packet_types

# Kinds of a field: varints below TEXT, length-delimited from TEXT on. RANDOM is an INT64 of usually 63 bits, SIDE the
# enum ResetSide.
RANDOM, INT64, INT32, BOOL, SIDE, TEXT, BYTES = range(7)


class Packet:
    """Decoded packet: its type and the fields of its payload; a field that was not sent has its zero value.

    Attributes:
        type: number of the packet type, of `packet_types`.
        payload: number of the payload's field in the packet; 0: no payload was sent.

    """

    type: int = 0
    payload: int = 0
    connect_id: int = 0
    random: int = 0
    protocol: str = ""
    address: str = ""
    error: str = ""
    size: int = 0
    total: int = 0
    side: int = 0
    reason: str = ""
    sent: int = 0
    received: int = 0
    count: int = 0
    ready: bool = False
    data: bytes = b""

    def begin_payload(self, number: int) -> None:
        """Begin a payload; clear the fields of another payload that was read before."""
        if self.payload not in (0, number):
            for attribute, value in _EMPTY.items():
                setattr(self, attribute, value)
        self.payload = number


# The fields of one payload in the order of their numbers, which begin at 1: attribute of `Packet`, name, kind.
Fields = tuple[tuple[str, str, int], ...]

_CONNECT_ID = ("connect_id", "connectID", INT64)
_RANDOM = ("random", "random", RANDOM)
_ERROR = ("error", "error", TEXT)
_REASON = ("reason", "reason", TEXT)

# packet type -> number of the payload's field, and the fields of the payload
PAYLOADS: dict[int, tuple[int, Fields]] = {
    packet_types.DIAL_REQ: (2, (("protocol", "protocol", TEXT), ("address", "address", TEXT), _RANDOM)),
    packet_types.DIAL_RSP: (3, (_ERROR, _CONNECT_ID, _RANDOM)),
    packet_types.DATA: (4, (_CONNECT_ID, _ERROR, ("data", "data", BYTES))),
    packet_types.CLOSE_REQ: (5, (_CONNECT_ID,)),
    packet_types.CLOSE_RSP: (6, (_ERROR, _CONNECT_ID)),
    packet_types.DIAL_CLS: (7, (_RANDOM,)),
    packet_types.DRAIN: (8, ()),
    packet_types.CREDIT: (100, (_CONNECT_ID, ("size", "bytes", INT64))),
    packet_types.DATA_END: (101, (_CONNECT_ID, ("total", "total", INT64))),
    packet_types.RESET: (
        102,
        (_CONNECT_ID, ("side", "side", SIDE), _REASON, ("sent", "sent", INT64), ("received", "received", INT64)),
    ),
    packet_types.STOP: (103, (_CONNECT_ID, _REASON)),
    packet_types.SERVER_COUNT: (104, (("count", "count", INT32),)),
    packet_types.READY: (105, (("ready", "ready", BOOL),)),
}

_EMPTY = {
    attribute: {TEXT: "", BYTES: b"", BOOL: False}.get(kind, 0)
    for _, fields in PAYLOADS.values()
    for attribute, _, kind in fields
}
