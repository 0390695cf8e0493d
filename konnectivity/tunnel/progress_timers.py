"""Time limits of connections that must make progress to stay open."""

from __future__ import annotations

import asyncio

from konnectivity.tunnel.interfaces import LOOKS, ExpiringConnection


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
        self._look_later(connection, timeout_s, connection.progress(), self._loop.time() + timeout_s)

    def _look_later(
        self, connection: ExpiringConnection, timeout_s: float, before: tuple[int, int], due: float
    ) -> None:
        """Look for progress after a part of the time, at the latest at its end, `due`."""
        moment = min(self._loop.time() + timeout_s / LOOKS, due)
        self._timers[connection] = self._loop.call_at(moment, self._look, connection, timeout_s, before, due)

    def _look(self, connection: ExpiringConnection, timeout_s: float, before: tuple[int, int], due: float) -> None:
        if connection.progress() != before:
            self._arm(connection, timeout_s)
        elif self._loop.time() < due:
            self._look_later(connection, timeout_s, before, due)
        else:
            del self._timers[connection]
            connection.expired()
