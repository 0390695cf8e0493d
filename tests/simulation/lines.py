"""Lines of the simulated network: the way between two machines, and its faults.

A line carries segments, each with a delay of chance, in the order of its connection. What is sent while the line is
silent is kept and carried again later, as TCP does. Does not know what a segment is.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from simulation.machine import MACHINE

OVERHEAD = 60  # bytes of a segment's headers, on a slow line


class Ordered(Protocol):
    """Sender whose segments arrive in order."""

    last_arrival: float


class Line:
    """Way between the machines `a` and `b`.

    Attributes:
        delay_s: shortest and longest delay of a segment.
        rate: bytes per second and direction; 0: unlimited.
        silent: directions, by the machine that sends, in which nothing arrives.
        last_arrivals: moment at which the last segment arrives, by the machine that sent it.

    """

    def __init__(self, a: str, b: str, chance: Random, call_at: Callable[..., object]) -> None:
        self.ends = (a, b)
        self.rate = 0.0
        self.silent: set[str] = set()
        self.silent_since = 0.0
        self.last_arrivals = {a: 0.0, b: 0.0}
        self._chance = chance
        self._call_at = call_at
        self._free_at: dict[str, float] = {a: 0.0, b: 0.0}
        self._held: list[tuple[str, Ordered, int, Callable[..., object], tuple[Any, ...]]] = []
        longest = 0.0001 if a == b else chance.choice((0.0005, 0.002, 0.02, 0.08))
        self.delay_s = self.usual_delay_s = (longest / 4, longest)

    @property
    def round_trip_s(self) -> float:
        """Return the longest time to the other end and back."""
        return 2 * self.delay_s[1]

    def carry(self, source: str, sender: Ordered, size: int, arrived: Callable[..., object], *args: Any) -> None:
        """Call `arrived` when a segment of `size` bytes is at the other end."""
        if source in self.silent:
            self._held.append((source, sender, size, arrived, args))
            return
        low, high = self.delay_s
        moment = MACHINE.now + low + (high - low) * self._chance.random()
        if self.rate:
            start = max(MACHINE.now, self._free_at[source])
            self._free_at[source] = start + (size + OVERHEAD) / self.rate
            moment += self._free_at[source] - MACHINE.now
        sender.last_arrival = self.last_arrivals[source] = moment = max(moment, sender.last_arrival)
        self._call_at(moment, arrived, *args)

    def silence(self, *sources: str) -> None:
        """Let nothing arrive that these machines send."""
        self.silent.update(sources)
        self.silent_since = MACHINE.now

    def heal(self) -> None:
        """Be as at the beginning; what was lost is sent again, the later the longer the fault lasted."""
        self.delay_s, self.rate = self.usual_delay_s, 0.0
        if not self.silent:
            return
        lost_s = MACHINE.now - self.silent_since
        self.silent.clear()
        held, self._held = self._held, []
        pauses: dict[int, float] = {}
        for source, sender, size, arrived, args in held:
            if id(sender) not in pauses:
                pauses[id(sender)] = self._chance.random() * min(max(lost_s, 0.2), 5.0)
                sender.last_arrival = max(sender.last_arrival, MACHINE.now + pauses[id(sender)])
            self.carry(source, sender, size, arrived, *args)
