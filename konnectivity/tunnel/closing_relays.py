"""Relays of one program that are closed while their sockets may still have unwritten bytes.

A connection is over when its last byte is handed to the socket, but a slow reader takes that byte much later. A program
that ends in between would let the kernel show such a reader a clean end in front of the missing bytes.
"""

from __future__ import annotations

from typing import Protocol


class ClosingRelay(Protocol):
    """Relay that is closed, until its socket is."""

    @property
    def unwritten(self) -> bool:
        """Return whether bytes may wait for the socket."""

    def buffered(self) -> int:
        """Return the number of bytes that certainly wait for the socket."""

    def abort(self, reason: str) -> None:
        """Reset the socket."""


class ClosingRelays:
    """Set of the closed relays of one program whose sockets are not closed yet."""

    def __init__(self) -> None:
        self._relays: dict[ClosingRelay, None] = {}

    def add(self, relay: ClosingRelay) -> None:
        """Record a relay that was closed."""
        self._relays[relay] = None

    def remove(self, relay: ClosingRelay) -> None:
        """Forget a relay whose socket is closed, if the relay was recorded."""
        self._relays.pop(relay, None)

    @property
    def unwritten(self) -> int:
        """Return the number of relays whose bytes are not all written."""
        return sum(relay.unwritten for relay in self._relays)

    def abort_unwritten(self, reason: str) -> None:
        """Reset each socket that would lack bytes if the program ended now: its reader gets an error, no clean end."""
        for relay in list(self._relays):
            if relay.buffered():
                relay.abort(reason)
