"""Numbers of the packet types, and their names. Pure."""

from __future__ import annotations

from typing import Final

DIAL_REQ: Final = 0
DIAL_RSP: Final = 1
CLOSE_REQ: Final = 2
CLOSE_RSP: Final = 3
DATA: Final = 4
DIAL_CLS: Final = 5
DRAIN: Final = 6
CREDIT: Final = 100
DATA_END: Final = 101
RESET: Final = 102
STOP: Final = 103
SERVER_COUNT: Final = 104
READY: Final = 105

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
