"""Address of a connection's other end: the one that a trusted load balancer stated, or the socket's own.

Owns the stated address of the connection whose callbacks run. An event loop runs all callbacks of a connection in the
context in which it was accepted, so the address needs no table and ends with the connection.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import NamedTuple


class StatedAddress(NamedTuple):
    """Client that a load balancer stated.

    Attributes:
        balancer: address and port of the connection's real other end. A connection that is opened in the context of
            another has another one, and is not taken for that.
        client: stated address and port.

    """

    balancer: tuple[str, int]
    client: tuple[str, int]


stated: ContextVar[StatedAddress | None] = ContextVar("stated_address", default=None)


def address_of(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Return host and port of a transport's other end, or None if it has none: a unix socket."""
    found = transport.get_extra_info("peername")
    if not isinstance(found, tuple):
        return None
    address = (found[0], found[1])
    known = stated.get()
    return known.client if known is not None and known.balancer == address else address
