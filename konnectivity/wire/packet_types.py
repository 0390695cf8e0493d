"""Numbers of the packet types as plain ints, because reading the generated enum costs a microsecond each time. Pure."""

from __future__ import annotations

from konnectivity.proto.client_pb2 import PacketType

DIAL_REQ: int = PacketType.DIAL_REQ
DIAL_RSP: int = PacketType.DIAL_RSP
CLOSE_REQ: int = PacketType.CLOSE_REQ
CLOSE_RSP: int = PacketType.CLOSE_RSP
DATA: int = PacketType.DATA
DIAL_CLS: int = PacketType.DIAL_CLS
DRAIN: int = PacketType.DRAIN
CREDIT: int = PacketType.CREDIT
DATA_END: int = PacketType.DATA_END
RESET: int = PacketType.RESET
STOP: int = PacketType.STOP
SERVER_COUNT: int = PacketType.SERVER_COUNT
READY: int = PacketType.READY

NAMES: dict[int, str] = {number: name for name, number in PacketType.items()}


def kind_of(packet: bytes) -> int:
    """Return the type of a packet that `wire` built: the type is the first field, and is left out if it is 0."""
    return packet[1] if packet[:1] == b"\x08" else 0
