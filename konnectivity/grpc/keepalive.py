"""Keepalive of one connection: after a silence a ping, and without an answer the end of the connection.

Owns one timer. Does not know what a ping is; anything that the peer sends counts as a sign of life.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class KeepaliveOwner(Protocol):
    """Connection that is kept alive."""

    @property
    def heard_at(self) -> float:
        """Time of the last bytes from the peer."""

    def ping(self) -> None:
        """Ask the peer for a sign of life."""

    def abort(self, reason: str) -> None:
        """Drop the connection now."""


class Keepalive:
    """Keepalive timer of one connection. Starts at once.

    Args:
        owner: the connection.
        loop: its event loop.
        time_s: silence in seconds after which a ping is sent.
        timeout_s: seconds that the peer has to send anything after the ping.

    """

    __slots__ = ("_heard_at", "_loop", "_owner", "_time_s", "_timeout_s", "_timer")

    def __init__(self, owner: KeepaliveOwner, loop: asyncio.AbstractEventLoop, time_s: float, timeout_s: float) -> None:
        self._owner = owner
        self._loop = loop
        self._time_s = time_s
        self._timeout_s = timeout_s
        self._arm()

    def stop(self) -> None:
        """Cancel the timer."""
        self._timer.cancel()

    def _arm(self) -> None:
        self._heard_at = self._owner.heard_at
        self._timer = self._loop.call_later(self._time_s, self._silent)

    def _silent(self) -> None:
        if self._owner.heard_at > self._heard_at:
            self._arm()
            return
        self._owner.ping()
        self._timer = self._loop.call_later(self._timeout_s, self._expired)

    def _expired(self) -> None:
        if self._owner.heard_at > self._heard_at:
            self._arm()
        else:
            self._owner.abort(f"no answer to a keepalive ping in {self._timeout_s:g} s")
