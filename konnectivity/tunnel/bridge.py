"""Joint of two tunnels in the server: two connections back to back, each the local side of the other."""

from __future__ import annotations

from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import Buffer


class Bridge:
    """Local side of one connection, made of a connection of another tunnel.

    Does not own the other connection, and keeps no bytes.
    """

    __slots__ = ("_other",)

    def __init__(self, other: Connection) -> None:
        self._other = other

    def write(self, data: Buffer) -> bool:
        """Pass data on; return False if the other connection must wait for credit."""
        return self._other.outbound.send(data)

    def write_eof(self) -> None:
        """End the outbound direction of the other connection."""
        self._other.local_end()

    def close(self) -> None:
        """End both directions of the other connection, behind all data."""
        self._other.local_gone()

    def abort(self, reason: str) -> None:
        """Reset the other connection."""
        self._other.local_lost(reason)

    def buffered(self) -> int:
        """Return the number of bytes that wait in the other connection."""
        return self._other.outbound.queued

    def watch(self, left: int) -> None:
        """Do nothing: bytes that leave the other connection are counted whenever more arrive."""

    def pause(self) -> None:
        """Do nothing: `write` returned False, so the other connection returns no credit until `resume`."""

    def resume(self) -> None:
        """Let the other connection return credit again."""
        self._other.inbound.local_drained()
