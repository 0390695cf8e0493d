"""Time limits of connections that must make progress to stay open."""

from __future__ import annotations

import asyncio
import functools

from konnectivity.runtime.progress_limit import ProgressLimit
from konnectivity.tunnel.interfaces import ExpiringConnection


class ProgressTimers:
    """Time limits of one tunnel's connections, at most one for each.

    Args:
        loop: event loop of the time limits.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._limits: dict[ExpiringConnection, ProgressLimit[tuple[int, int]]] = {}

    def start(self, connection: ExpiringConnection, timeout_s: float) -> None:
        """Call `connection.expired` after `timeout_s` seconds without progress; replaces an earlier time limit."""
        self.cancel(connection)
        expired = functools.partial(self._expired, connection)
        self._limits[connection] = ProgressLimit(self._loop, timeout_s, connection.progress, expired)

    def cancel(self, connection: ExpiringConnection) -> None:
        """Remove the connection's time limit, if it has one."""
        limit = self._limits.pop(connection, None)
        if limit is not None:
            limit.cancel()

    def _expired(self, connection: ExpiringConnection) -> None:
        del self._limits[connection]
        connection.expired()
