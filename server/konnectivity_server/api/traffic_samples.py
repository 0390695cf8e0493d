"""Traffic samples: once a second, the amounts that the server carried and the connections that do not move.

Owns the samples of the last minutes and the timer. Reads counters that exist anyway, so that it costs the connections
nothing. Does not know the readers of the samples.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Mapping

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity_server.api.stalls import Stalls

INTERVAL_S = 1.0
SAMPLES = 300


class Ring:
    """Ring of the last numbers of a series."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, size: int = SAMPLES) -> None:
        self._numbers = array("q", bytes(8 * size))
        self._at = 0

    def add(self, number: int) -> None:
        """Add the newest number, in the place of the oldest one."""
        self._numbers[self._at] = number
        self._at = (self._at + 1) % len(self._numbers)

    def last(self, count: int) -> list[int]:
        """Return the last `count` numbers, the newest at the end."""
        numbers = self._numbers[self._at :] + self._numbers[: self._at]
        return numbers[len(numbers) - count :].tolist()


class Sampler:
    """Sampler of a server's traffic, once a second from `start` to `stop`.

    Args:
        traffic: counters of the connections through the agents.
        tunnels: returns the tunnels whose connections may stall.
        gauges: functions that return the present value of further series, by the name of the series.

    """

    def __init__(
        self, traffic: TunnelStats, tunnels: Callable[[], Iterable[Tunnel]], gauges: Mapping[str, Callable[[], int]]
    ) -> None:
        self.stalls = Stalls()
        self.samples = 0  # taken since the start
        self._traffic = traffic
        self._tunnels = tunnels
        self._gauges = gauges
        self._before = self._totals()
        self._names = (*self._before, *gauges, "stalled")
        self._rings: dict[str, Ring] = {}  # made by `start`
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Arm the timer for the next sample."""
        if not self._rings:
            self._before = self._totals()
            self._rings = {name: Ring() for name in self._names}
        now = self._loop.time()
        self._due = max(self._due, now - INTERVAL_S) + INTERVAL_S  # a fixed interval unless the loop was blocked
        self._timer = self._loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """Take no more samples."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drop(self) -> None:
        """Take no more samples, and forget those that were taken."""
        self.stop()
        self._rings, self.samples = {}, 0

    @property
    def running(self) -> bool:
        """Return whether samples are taken."""
        return self._timer is not None

    def series(self, count: int) -> dict[str, list[int]]:
        """Return the last `count` samples of each series by its name, the newest at the end."""
        count = min(count, self.samples, SAMPLES)
        if not self._rings:
            return {name: [] for name in self._names}
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
