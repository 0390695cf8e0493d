"""Log lines of tunnels: packets, bad packets and closed connections."""

from __future__ import annotations

from typing import Protocol

from konnectivity import wire
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.wire import Packet

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)
# Level 6 logs single packets for a person to read, so the rate per peer and of all peers together is bounded.
packet_log = logs.get_peer_log(__name__, logs.LineRate(per_peer=2_000, per_message=10_000))


class LoggedTunnel(Protocol):
    """Tunnel as its log lines name it."""

    stream: MessageStream
    log_fields: dict[str, str]


def packet(tunnel: LoggedTunnel, message: str, packet: Packet | None) -> None:
    """Log a packet that was sent or received."""
    text = wire.describe(packet) if packet is not None else "unknown"
    peer = tunnel.stream.peer
    packet_log.info(peer.source, message, peer=peer.address, **tunnel.log_fields, packet=text)


def bad_packet(tunnel: LoggedTunnel, error: wire.PacketError) -> None:
    """Log a message that is no packet."""
    if log.v(2):
        peer = tunnel.stream.peer
        peer_log.info(peer.source, "Bad packet", peer=peer.address, reason=error)


def connection_closed(tunnel: LoggedTunnel, connection: Connection, seconds: float) -> None:
    """Log the end of a connection that was open for `seconds` seconds."""
    log.info(
        "Connection closed",
        **({"from": connection.origin} if connection.origin else {}),
        destination=connection.destination,
        **tunnel.log_fields,
        connection=connection.connect_id,
        sent=connection.outbound.sent,
        received=connection.inbound.received,
        seconds=round(seconds, 3),
        cause=connection.cause,
        side=sides.name_of(connection.blamed),
        reason=connection.reason or "both sides ended",
    )
