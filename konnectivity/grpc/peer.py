"""Identity of the other end of a socket: its address (behind a load balancer the stated one), certificate, process."""

from __future__ import annotations

import asyncio
import socket
import struct
from hashlib import sha256

from konnectivity.grpc.message_stream import Peer, PeerProcess
from konnectivity.net.peer_address import address_of

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def peer_of(transport: asyncio.Transport) -> Peer:
    """Return the identity of a transport's other end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return Peer("unix", None, _process(sock))
    address = address_of(transport)
    if address is not None:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        name = f"{host}:{address[1]}"
    else:
        name = "unix"
    ssl_object = transport.get_extra_info("ssl_object")
    return Peer(name, ssl_object.getpeercert() if ssl_object is not None else None)


def with_token(peer: Peer, token: bytes) -> Peer:
    """Return a peer that showed a token. Only the digest is kept."""
    return Peer(peer.address, peer.certificate, peer.process, sha256(token).digest())


def _process(sock: socket.socket) -> PeerProcess | None:
    """Return the process at the other end of a unix socket; None if it cannot be known (only Linux tells it)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        # uvloop's socket asks the kernel for its family at each call; a socket made with the family does not.
        whole = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, sock.fileno())
        try:
            found = whole.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        finally:
            whole.detach()
    except (OSError, ValueError):  # the connection is closed already
        return None
    return PeerProcess(*_CREDENTIALS.unpack(found))
