"""Builders of every packet but DATA, as message bytes; and a description for logs. Pure."""

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
    Reset,
    ResetSide,
    Stop,
)


def dial_req(address: str, random: int, protocol: str = "tcp") -> bytes:
    request = DialRequest(protocol=protocol, address=address, random=random)
    return Packet(type=PacketType.DIAL_REQ, dialRequest=request).SerializeToString()


def dial_rsp(random: int, connect_id: int = 0, error: str = "") -> bytes:
    response = DialResponse(error=error, connectID=connect_id, random=random)
    return Packet(type=PacketType.DIAL_RSP, dialResponse=response).SerializeToString()


def close_req(connect_id: int) -> bytes:
    return Packet(type=PacketType.CLOSE_REQ, closeRequest=CloseRequest(connectID=connect_id)).SerializeToString()


def close_rsp(connect_id: int, error: str = "") -> bytes:
    response = CloseResponse(error=error, connectID=connect_id)
    return Packet(type=PacketType.CLOSE_RSP, closeResponse=response).SerializeToString()


def close_dial(random: int) -> bytes:
    return Packet(type=PacketType.DIAL_CLS, closeDial=CloseDial(random=random)).SerializeToString()


def drain() -> bytes:
    return Packet(type=PacketType.DRAIN, drain=Drain()).SerializeToString()


def credit(connect_id: int, size: int) -> bytes:
    return Packet(type=PacketType.CREDIT, credit=Credit(connectID=connect_id, bytes=size)).SerializeToString()


def data_end(connect_id: int, total: int) -> bytes:
    return Packet(type=PacketType.DATA_END, dataEnd=DataEnd(connectID=connect_id, total=total)).SerializeToString()


def reset(connect_id: int, side: int, reason: str, sent: int, received: int) -> bytes:
    body = Reset(connectID=connect_id, side=ResetSide.Name(side), reason=reason, sent=sent, received=received)
    return Packet(type=PacketType.RESET, reset=body).SerializeToString()


def stop(connect_id: int, reason: str) -> bytes:
    return Packet(type=PacketType.STOP, stop=Stop(connectID=connect_id, reason=reason)).SerializeToString()


def describe(packet: Packet) -> str:
    """One line for a log: the type and its payload's fields."""
    payload = packet.WhichOneof("payload")
    body = str(getattr(packet, payload)).replace("\n", " ").strip() if payload else ""
    return f"{PacketType.Name(packet.type)} {{{body}}}"
