"""Time limits of connections that must make progress to stay open."""

from __future__ import annotations

import asyncio

from konnectivity.tunnel.interfaces import ExpiringConnection


class ProgressTimers:
    """Timers of one tunnel's connections, at most one for each.

    Args:
        loop: event loop of the timers.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[ExpiringConnection, asyncio.TimerHandle] = {}

    def start(self, connection: ExpiringConnection, timeout_s: float) -> None:
        """Call `connection.expired` after `timeout_s` seconds without progress; replaces an earlier time limit."""
        self.cancel(connection)
        self._arm(connection, timeout_s)

    def cancel(self, connection: ExpiringConnection) -> None:
        """Remove the connection's time limit, if it has one."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _arm(self, connection: ExpiringConnection, timeout_s: float) -> None:
        before = connection.progress()
        self._timers[connection] = self._loop.call_later(timeout_s, self._due, connection, timeout_s, before)

    def _due(self, connection: ExpiringConnection, timeout_s: float, before: tuple[int, int]) -> None:
        if connection.progress() == before:
            del self._timers[connection]
            connection.expired()
        else:
            self._arm(connection, timeout_s)
