"""Stalled connections: the connections that wait for a side that takes nothing.

Owns what each side had taken when it was looked at last. A connection that waits for a client may be moving as slowly
as the client reads, so two looks are needed to tell. Does not know when it is looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.tunnel import Tunnel

STALLED_S = 2.0  # without a byte moving, until a connection counts as stalled
CLIENT, DESTINATION = "client", "destination"

_Still = dict[Connection, tuple[int, float]]  # bytes that a side had taken, and the time since when


class Stall(NamedTuple):
    """Side of a connection that takes nothing, and for how many seconds."""

    side: str
    seconds: float


class Stalls:
    """Stalled connections of some tunnels."""

    def __init__(self) -> None:
        self._clients: _Still = {}
        self._destinations: _Still = {}

    def look(self, tunnels: Iterable[Tunnel], now: float) -> None:
        """Compare every blocked connection with what it had taken at the last look."""
        clients: _Still = {}
        destinations: _Still = {}
        for tunnel in tunnels:
            for connection in tunnel.connections.values():
                inbound, outbound = connection.inbound, connection.outbound
                if inbound.blocked:
                    known = self._clients.get(connection, (inbound.taken, inbound.blocked_at))
                    clients[connection] = known if known[0] == inbound.taken else (inbound.taken, now)
                if outbound.credit <= 0:
                    since = outbound.starved_at if outbound.starved else now
                    known = self._destinations.get(connection, (outbound.sent, since))
                    destinations[connection] = known if known[0] == outbound.sent else (outbound.sent, now)
        self._clients, self._destinations = clients, destinations

    def counts(self, now: float) -> dict[str, int]:
        """Return the number of stalled connections by the side that takes nothing."""
        waiting = {**self._clients, **self._destinations}
        found = (self.of(connection, now) for connection in waiting if not connection.closed)
        sides = Counter(stall.side for stall in found if stall is not None)
        return {CLIENT: sides[CLIENT], DESTINATION: sides[DESTINATION]}

    def of(self, connection: Connection, now: float) -> Stall | None:
        """Return the longer stall of a connection's two sides, or None if neither lasts long enough to count."""
        longest = None
        if connection.inbound.blocked and (known := self._clients.get(connection)) is not None:
            longest = Stall(CLIENT, now - known[1])
        if connection.outbound.credit <= 0 and (known := self._destinations.get(connection)) is not None:
            seconds = now - known[1]
            if longest is None or seconds > longest.seconds:
                longest = Stall(DESTINATION, seconds)
        return longest if longest is not None and longest.seconds >= STALLED_S else None
