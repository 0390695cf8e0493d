"""Packet codec: message bytes <-> packets (docs/internals/protocol.md). Pure.

DATA, the packet of the hot path, is encoded and decoded by hand. A DATA packet of unusual layout (unknown fields,
another order of fields) and every other packet go through the generated classes, which only this package uses.
"""

from konnectivity.proto.client_pb2 import Packet, PacketType
from konnectivity.wire import packet_types
from konnectivity.wire.codec import PacketError, data_head, decode, decode_data
from konnectivity.wire.packet_types import kind_of
from konnectivity.wire.packets import (
    close_dial,
    close_req,
    close_rsp,
    credit,
    data_end,
    describe,
    dial_req,
    dial_rsp,
    drain,
    ready,
    reset,
    server_count,
    stop,
)

__all__ = [
    "Packet",
    "PacketError",
    "PacketType",
    "close_dial",
    "close_req",
    "close_rsp",
    "credit",
    "data_end",
    "data_head",
    "decode",
    "decode_data",
    "describe",
    "dial_req",
    "dial_rsp",
    "drain",
    "kind_of",
    "packet_types",
    "ready",
    "reset",
    "server_count",
    "stop",
]
