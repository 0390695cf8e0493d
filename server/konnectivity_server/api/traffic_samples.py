"""A look at the server once a second: what it carried in the last minutes, and which connections do not move.

Reads counters that are kept anyway, and costs the connections nothing. Does not know who asks.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.tunnel import Tunnel

_Still = dict[Connection, tuple[int, float]]  # bytes that a side had, and since when it has no more

INTERVAL_S = 1.0
SAMPLES = 300
STALLED_S = 2.0  # without a byte moving, until a connection counts as stalled
CLIENT, DESTINATION = "client", "destination"


class Ring:
    """The last numbers of a series."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, size: int = SAMPLES) -> None:
        self._numbers = array("q", bytes(8 * size))
        self._at = 0

    def add(self, number: int) -> None:
        self._numbers[self._at] = number
        self._at = (self._at + 1) % len(self._numbers)

    def last(self, count: int) -> list[int]:
        """The newest at the end."""
        numbers = self._numbers[self._at :] + self._numbers[: self._at]
        return numbers[len(numbers) - count :].tolist()


class Stall(NamedTuple):
    """A side of a connection that takes nothing, and for how long."""

    side: str
    seconds: float


class Stalls:
    """Which connections wait for a side that takes nothing.

    What waits for a client may be moving all the same, as slowly as the client reads: only looking twice can tell.
    """

    def __init__(self) -> None:
        self._clients: _Still = {}
        self._destinations: _Still = {}

    def look(self, tunnels: Iterable[Tunnel], now: float) -> None:
        """See who has moved since the last time."""
        clients: _Still = {}
        destinations: _Still = {}
        for tunnel in tunnels:
            for link in tunnel.connections.values():
                if link.inbound.blocked:
                    taken = link.inbound.taken
                    known = self._clients.get(link, (taken, link.inbound.blocked_at))
                    clients[link] = known if known[0] == taken else (taken, now)
                if link.outbound.credit <= 0:
                    known = self._destinations.get(
                        link, (link.outbound.sent, link.outbound.starved_at if link.outbound.starved else now)
                    )
                    destinations[link] = known if known[0] == link.outbound.sent else (link.outbound.sent, now)
        self._clients, self._destinations = clients, destinations

    def counts(self, now: float) -> dict[str, int]:
        """How many stall, by the side that takes nothing."""
        links = {**self._clients, **self._destinations}
        sides = Counter(stall.side for link in links if not link.closed and (stall := self.of(link, now)) is not None)
        return {CLIENT: sides[CLIENT], DESTINATION: sides[DESTINATION]}

    def of(self, link: Connection, now: float) -> Stall | None:
        """The longer of the two, if it is long enough to count."""
        longest = None
        if link.inbound.blocked and (known := self._clients.get(link)) is not None:
            longest = Stall(CLIENT, now - known[1])
        if link.outbound.credit <= 0 and (known := self._destinations.get(link)) is not None:
            seconds = now - known[1]
            if longest is None or seconds > longest.seconds:
                longest = Stall(DESTINATION, seconds)
        return longest if longest is not None and longest.seconds >= STALLED_S else None


class Sampler:
    """Looks once a second, from `start` to `stop`.

    Args:
        traffic: of the connections that rates are of.
        tunnels: all whose connections are looked at.
        gauges: what else there is a series of, by name.

    """

    def __init__(
        self, traffic: TunnelStats, tunnels: Callable[[], Iterable[Tunnel]], gauges: Mapping[str, Callable[[], int]]
    ) -> None:
        self.stalls = Stalls()
        self.samples = 0  # that were taken
        self._traffic = traffic
        self._tunnels = tunnels
        self._gauges = gauges
        self._before = self._totals()
        self._rings = {name: Ring() for name in (*self._before, *gauges, "stalled")}
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        now = self._loop.time()
        self._due = max(self._due, now - INTERVAL_S) + INTERVAL_S  # in step, unless the loop stood still
        self._timer = self._loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def series(self, count: int) -> dict[str, list[int]]:
        """The last samples by name, the newest at the end: amounts per second, and how many there were."""
        count = min(count, self.samples, SAMPLES)
        return {name: ring.last(count) for name, ring in self._rings.items()}

    def _totals(self) -> dict[str, int]:
        traffic = self._traffic
        return {
            "bytes_to_destination": traffic.sent_bytes,
            "bytes_from_destination": traffic.received_bytes,
            "dials": traffic.opened,
            "dial_failures": sum(traffic.dial_failures.values()),
        }

    def _tick(self) -> None:
        now = self._loop.time()
        self.stalls.look(self._tunnels(), now)
        totals = self._totals()
        for name, total in totals.items():
            self._rings[name].add(total - self._before[name])
        for name, gauge in self._gauges.items():
            self._rings[name].add(gauge())
        self._rings["stalled"].add(sum(self.stalls.counts(now).values()))
        self._before = totals
        self.samples += 1
        self.start()
