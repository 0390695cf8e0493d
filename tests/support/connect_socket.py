"""HTTP CONNECT over a plain socket, for tests that have no event loop."""

from __future__ import annotations

import socket
from contextlib import suppress

TIMEOUT_S = 10.0


def dial(path: str, address: str) -> tuple[int, socket.socket]:
    """Send CONNECT through the frontend's unix socket at `path`; return the status and the connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT_S)
    sock.connect(path)
    sock.sendall(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head and (data := sock.recv(1)):
        head += data
    return int(head.split()[1]), sock


def answer_to(path: str, address: str) -> int:
    """Send CONNECT and return only the status of the answer."""
    status, sock = dial(path, address)
    sock.close()
    return status


def fill(sock: socket.socket, most: int) -> int:
    """Send until the other side accepts no more bytes; return the number of bytes sent."""
    sock.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < most:
            sent += sock.send(bytes(65536))
    return sent
