"""Sockets of one program that are closed, and may still have unwritten bytes.

A connection is over when its last byte is handed to the socket, but a slow reader takes that byte much later. A program
that ends in between would let the kernel show such a reader a clean end in front of the missing bytes.
"""

from __future__ import annotations

from typing import Protocol


class ClosingSocket(Protocol):
    """Owner of a socket that was told to close, until the socket is closed."""

    @property
    def unwritten(self) -> bool:
        """Return whether bytes may wait for the socket."""

    def buffered(self) -> int:
        """Return the number of bytes that certainly wait for the socket."""

    def abort(self, reason: str) -> None:
        """Reset the socket."""


class ClosingSockets:
    """Set of the sockets of one program that were told to close, and are not closed yet."""

    def __init__(self) -> None:
        self._sockets: dict[ClosingSocket, None] = {}

    def add(self, owner: ClosingSocket) -> None:
        """Record a socket that was told to close."""
        self._sockets[owner] = None

    def remove(self, owner: ClosingSocket) -> None:
        """Forget a socket that is closed, if it was recorded."""
        self._sockets.pop(owner, None)

    @property
    def unwritten(self) -> int:
        """Return the number of sockets whose bytes are not all written."""
        return sum(owner.unwritten for owner in self._sockets)

    def abort_unwritten(self, reason: str) -> None:
        """Reset each socket that would lack bytes if the program ended now: its reader gets an error, no clean end."""
        for owner in list(self._sockets):
            if owner.buffered():
                owner.abort(reason)
