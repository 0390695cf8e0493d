"""Numbers of the packet types, and their names. Pure."""

from __future__ import annotations

DIAL_REQ = 0
DIAL_RSP = 1
CLOSE_REQ = 2
CLOSE_RSP = 3
DATA = 4
DIAL_CLS = 5
DRAIN = 6
CREDIT = 100
DATA_END = 101
RESET = 102
STOP = 103
SERVER_COUNT = 104
READY = 105

NAMES: dict[int, str] = {
    DIAL_REQ: "DIAL_REQ",
    DIAL_RSP: "DIAL_RSP",
    CLOSE_REQ: "CLOSE_REQ",
    CLOSE_RSP: "CLOSE_RSP",
    DATA: "DATA",
    DIAL_CLS: "DIAL_CLS",
    DRAIN: "DRAIN",
    CREDIT: "CREDIT",
    DATA_END: "DATA_END",
    RESET: "RESET",
    STOP: "STOP",
    SERVER_COUNT: "SERVER_COUNT",
    READY: "READY",
}


def kind_of(packet: bytes) -> int:
    """Return the type of a packet that `wire` built: the type is the first field, and is left out if it is 0."""
    return packet[1] if packet[:1] == b"\x08" else 0
