"""Packet codec: message bytes <-> packets (docs/internals/protocol.md). Pure.

`codec` encodes and decodes DATA, the packet of the hot path, in its usual layout. `packet_reader` decodes every other
packet, and DATA of an unusual layout; `packets` builds all but DATA. Both use the table of `packet_fields`.
`packet_types` has the numbers of the types.
"""

from konnectivity.wire import packet_types
from konnectivity.wire.codec import data_head, decode_data
from konnectivity.wire.packet_fields import Packet
from konnectivity.wire.packet_reader import PacketError, decode
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
