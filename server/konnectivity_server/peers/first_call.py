"""First call on an HTTP/2 connection, read before the connection has an owner. Pure.

The tenant that a peer server means is in the metadata of its call; the budgets, limits and log of the connection are
those of the tenant. The bytes are kept, so that the owner reads them as if nobody had before.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity.grpc.metadata import Metadata
from konnectivity.http2 import Http2Connection, Limits, Settings, events
from konnectivity_server.peers.peer_protocol import TENANT

MAX_FIRST_BYTES = 64 * 1024  # up to the end of the first call's header fields
_NAMES = frozenset({TENANT})


class FirstCall:
    """First call on a connection that is being read.

    Args:
        limits: limits on what the client may cost in HTTP/2.
        clock: monotonic seconds.

    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._data = bytearray()
        settings = Settings(max_header_list_size=limits.header_list_bytes)
        self._http2 = Http2Connection(False, settings, limits=limits, clock=clock)

    @property
    def data(self) -> bytes:
        """Return the bytes that were received."""
        return bytes(self._data)

    def feed(self, data: bytes) -> list[str] | None:
        """Take the next bytes of the client.

        Returns:
            The tenants that the first call names, of which a peer server names one; empty: it names none, or the bytes
            are no call; None: more bytes are needed.

        """
        self._data += data
        for event in self._http2.receive(data):
            if isinstance(event, events.HeadersReceived):
                return Metadata(event.headers, _NAMES).get_all(TENANT)
            if isinstance(event, events.ConnectionFailed):
                return []
        return None if len(self._data) < MAX_FIRST_BYTES else []
