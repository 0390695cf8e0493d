"""TCP keepalive of the connections between machines: its times, and the way to set them on an event loop's socket.

A machine that lost its power, or a device between two machines that forgot a connection, tells neither end. The probes
of the kernel find out, whether or not a protocol above sends anything.
"""

from __future__ import annotations

import socket

_KEEP_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 9))
    if hasattr(socket, name)
]


def keep_alive(sock: socket.socket, family: int) -> None:
    """Set TCP keepalive as Go sets it on every socket: after 15 s idle, every 15 s, 9 times."""
    # For each option that is set on uvloop's socket, uvloop makes a socket object and asks the kernel for its family.
    whole = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, sock.fileno())
    try:
        for level, option, value in _KEEP_ALIVE:
            whole.setsockopt(level, option, value)
    finally:
        whole.detach()
