"""Builders of every packet but DATA, as message bytes; and a description for logs. Pure.

Texts are cut to `untrusted_text.MAX_BYTES`, which bounds the size of every packet built here.
"""

from __future__ import annotations

from konnectivity.proto.client_pb2 import (
    CloseDial,
    CloseRequest,
    CloseResponse,
    Credit,
    DataEnd,
    DialRequest,
    DialResponse,
    Drain,
    Packet,
    PacketType,
    Ready,
    Reset,
    ResetSide,
    ServerCount,
    Stop,
)
from konnectivity.untrusted.untrusted_text import cut
from konnectivity.wire import packet_types

# Reading the generated enum costs a microsecond each time.
_DIAL_REQ = PacketType.DIAL_REQ
_DIAL_RSP = PacketType.DIAL_RSP
_CLOSE_REQ = PacketType.CLOSE_REQ
_CLOSE_RSP = PacketType.CLOSE_RSP
_DIAL_CLS = PacketType.DIAL_CLS
_DRAIN = PacketType.DRAIN
_CREDIT = PacketType.CREDIT
_DATA_END = PacketType.DATA_END
_RESET = PacketType.RESET
_STOP = PacketType.STOP
_SERVER_COUNT = PacketType.SERVER_COUNT
_READY = PacketType.READY


def dial_req(address: str, random: int, protocol: str = "tcp") -> bytes:
    """Return a DIAL_REQ: the peer is asked to connect to `address`."""
    request = DialRequest(protocol=cut(protocol), address=cut(address), random=random)
    return Packet(type=_DIAL_REQ, dialRequest=request).SerializeToString()


def dial_rsp(random: int, connect_id: int = 0, error: str = "") -> bytes:
    """Return a DIAL_RSP: the connection is open, or `error` says why not."""
    response = DialResponse(error=cut(error), connectID=connect_id, random=random)
    return Packet(type=_DIAL_RSP, dialResponse=response).SerializeToString()


def close_req(connect_id: int) -> bytes:
    """Return a CLOSE_REQ: the connection ends."""
    return Packet(type=_CLOSE_REQ, closeRequest=CloseRequest(connectID=connect_id)).SerializeToString()


def close_rsp(connect_id: int, error: str = "") -> bytes:
    """Return a CLOSE_RSP: the connection has ended."""
    response = CloseResponse(error=cut(error), connectID=connect_id)
    return Packet(type=_CLOSE_RSP, closeResponse=response).SerializeToString()


def close_dial(random: int) -> bytes:
    """Return a DIAL_CLS: the dial is given up."""
    return Packet(type=_DIAL_CLS, closeDial=CloseDial(random=random)).SerializeToString()


def drain() -> bytes:
    """Return a DRAIN: this side takes no new dials."""
    return Packet(type=_DRAIN, drain=Drain()).SerializeToString()


def credit(connect_id: int, size: int) -> bytes:
    """Return a CREDIT: the peer may send `size` more bytes (extension)."""
    return Packet(type=_CREDIT, credit=Credit(connectID=connect_id, bytes=size)).SerializeToString()


def data_end(connect_id: int, total: int) -> bytes:
    """Return a DATA_END: no data follows after `total` bytes (extension)."""
    return Packet(type=_DATA_END, dataEnd=DataEnd(connectID=connect_id, total=total)).SerializeToString()


def reset(connect_id: int, side: int, reason: str, sent: int, received: int) -> bytes:
    """Return a RESET: the connection broke on `side` (extension)."""
    body = Reset(connectID=connect_id, side=ResetSide.Name(side), reason=cut(reason), sent=sent, received=received)
    return Packet(type=_RESET, reset=body).SerializeToString()


def stop(connect_id: int, reason: str) -> bytes:
    """Return a STOP: the peer must send no more data (extension)."""
    return Packet(type=_STOP, stop=Stop(connectID=connect_id, reason=cut(reason))).SerializeToString()


def server_count(count: int) -> bytes:
    """Return a SERVER_COUNT: number of servers in the set (extension)."""
    return Packet(type=_SERVER_COUNT, serverCount=ServerCount(count=count)).SerializeToString()


def ready(whether: bool) -> bytes:
    """Return a READY: whether this server has agents that answer (extension)."""
    return Packet(type=_READY, ready=Ready(ready=whether)).SerializeToString()


def describe(packet: Packet) -> str:
    """Return one line for a log: the type and its payload's fields; of DATA the size."""
    payload = packet.WhichOneof("payload")
    if payload == "data":
        return f"DATA {{connectID: {packet.data.connectID} size: {len(packet.data.data)}}}"
    body = str(getattr(packet, payload)).replace("\n", " ").strip() if payload else ""
    return f"{packet_types.NAMES.get(packet.type, str(packet.type))} {{{body}}}"
