"""Listening TCP sockets of an address and a port. Owns no socket, and accepts no connection."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from konnectivity.net.addresses import is_unspecified

_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL)


def bound(host: str, port: int, backlog: int, shared: bool) -> list[socket.socket]:
    """Return listening sockets.

    Args:
        host: name or address; empty, `0.0.0.0` or `::`: all interfaces, IPv4 and IPv6.
        port: port number; 0: any free port.
        backlog: number of connections that may wait to be accepted.
        shared: whether other processes of this user may listen on the port, too.

    Raises:
        OSError: the address cannot be bound.

    """
    host = "" if is_unspecified(host) else host
    # As bytes, an ASCII name is not encoded by the codec for international names, which has large tables.
    name = (host.encode() if host.isascii() else host) or None
    found = dict.fromkeys(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, *_, address in found:
            if port == 0 and sockets:  # the same free port for both families
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(_listening(family, address, backlog, shared))
            except OSError as error:
                if host or error.errno not in _NO_FAMILY:
                    raise
                missing = error  # this machine has only the other address family
        if missing is not None and not sockets:
            raise missing
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listening(family: int, address: tuple[object, ...], backlog: int, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
