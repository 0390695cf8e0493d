"""What to connect to next, and when: pure decisions of an agent that wants one tunnel to every server.

An **endpoint** is an address to dial. Behind one endpoint there may be one server or, with a load balancer, several;
which one answered is known by the server id it sends. An endpoint is served while a tunnel made through it stands. When
every endpoint is served and fewer servers are connected than there are, endpoints are dialled again in turn ("a draw").
Times are seconds of a clock that the caller reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

BACKOFF_FACTOR = 1.5
JITTER = 0.1
MAX_DRAWS = 4  # at a time
DRAWS_PER_SERVER = 4  # a fair balancer shows the last of ten servers in half of all cases by then


class Address(NamedTuple):
    """Where to dial. `host` is what the user named: the server's certificate must name it."""

    host: str
    port: int
    ip: str = ""  # one of the addresses the host has; empty: whoever connects looks it up

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.ip})" if self.ip and self.ip != self.host else f"{host}:{self.port}"


@dataclass(slots=True)
class Endpoint:
    """One address, and how it went there."""

    address: Address
    servers: set[str] = field(default_factory=set)  # connected through it, or found there and connected otherwise
    busy: int = 0  # tries under way
    failing: bool = False
    reported: str = ""  # why, as the log has it; empty: nothing was said of this failure
    wait_s: float = 0.0  # the back-off reached
    due: float = 0.0  # not to be tried before


@dataclass(slots=True)
class Plan:
    """The endpoints, and what is known of the servers behind them.

    Args:
        interval_s: between two tries; the first step of the back-off.
        cap_s: the longest back-off.
        forever: draw even when all servers are connected.
        random: for jitter.
    """

    interval_s: float
    cap_s: float
    forever: bool
    random: Random
    endpoints: dict[Address, Endpoint] = field(default_factory=dict)
    draw_due: float = 0.0
    _turn: int = 0
    _dry: int = 0  # draws in a row that found nothing new

    def resolved(self, addresses: Iterable[Address]) -> None:
        """The addresses there are now. What is connected through one that went away stays connected."""
        found = {address: self.endpoints.get(address) or Endpoint(address) for address in addresses}
        # An address that is in use is kept until its tunnel ends.
        kept = {address: one for address, one in self.endpoints.items() if address not in found and one.servers}
        self.endpoints = {**found, **kept}

    def next(self, now: float, connected: int, count: int) -> list[Endpoint]:
        """The endpoints to dial now: those that are not served, else draws. Marks them busy."""
        chosen = [one for one in self.endpoints.values() if not one.servers and not one.busy and one.due <= now]
        if not chosen and self._may_draw(connected, count) and now >= self.draw_due:
            chosen = self._draws(connected, count)
            self.draw_due = now + self._jittered(self._draw_interval_s(count))
        for one in chosen:
            one.busy += 1
        return chosen

    def due(self, now: float, connected: int, count: int) -> float:
        """Seconds until `next` may have something new; without events in between."""
        times = [one.due for one in self.endpoints.values() if not one.servers and not one.busy]
        if self._may_draw(connected, count):
            times.append(self.draw_due)
        return max(min(times, default=now + self.cap_s) - now, 0.01)

    def connected(self, endpoint: Endpoint, server_id: str, now: float) -> None:
        """A try reached a server that was not connected."""
        self._tried(endpoint, now)
        endpoint.servers.add(server_id)
        self.draw_due = now  # it went well: the next one at once
        self._dry = 0

    def duplicate(self, endpoint: Endpoint, server_id: str, now: float) -> None:
        """A try reached a server that is connected already."""
        self._dry += 1
        self._tried(endpoint, now)
        endpoint.servers.add(server_id)

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """A try reached nobody: back off."""
        endpoint.busy -= 1
        endpoint.failing = True
        endpoint.wait_s = min(max(endpoint.wait_s * BACKOFF_FACTOR, self.interval_s), self.cap_s)
        endpoint.due = now + self._jittered(endpoint.wait_s)

    def lost(self, server_id: str, now: float) -> None:
        """The tunnel to a server ended. Many agents lose it together: they come back spread over one interval."""
        self._dry = 0
        for one in self.endpoints.values():
            if server_id in one.servers:
                one.servers.discard(server_id)
                one.due = now + self.interval_s * self.random.random()

    def served(self, host: str) -> bool:
        """Whether some address of a host is."""
        return any(one.servers for one in self.endpoints.values() if one.address.host == host)

    def hurry(self, now: float) -> None:
        """There is news of other servers: what is backing off is due now."""
        for one in self.endpoints.values():
            one.due = min(one.due, now + self.interval_s * 0.2 * self.random.random())
            one.wait_s = 0.0
        self.draw_due = min(self.draw_due, now)
        self._dry = 0

    def _draw_interval_s(self, count: int) -> float:
        """Draws that keep finding nothing become rare: there are fewer servers than was said."""
        in_vain = 0 if self.forever else max(0, self._dry - DRAWS_PER_SERVER * count)
        return min(self.interval_s * BACKOFF_FACTOR ** min(in_vain, 20), max(self.cap_s, self.interval_s))

    def _may_draw(self, connected: int, count: int) -> bool:
        tried = all(one.servers or one.busy or one.failing for one in self.endpoints.values())
        served = any(one.servers for one in self.endpoints.values())
        return tried and served and (self.forever or connected < count)

    def _draws(self, connected: int, count: int) -> list[Endpoint]:
        missing = count - connected - sum(one.busy for one in self.endpoints.values())
        wanted = min(max(missing, 1 if self.forever else 0), MAX_DRAWS)
        every = [one for one in self.endpoints.values() if one.servers]
        if not every:
            return []
        self._turn += wanted
        return [every[(self._turn - i) % len(every)] for i in range(wanted)]

    def _tried(self, endpoint: Endpoint, now: float) -> None:
        endpoint.busy -= 1
        endpoint.failing = False
        endpoint.reported = ""
        endpoint.wait_s = 0.0
        endpoint.due = now

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self.random.random() * JITTER)


def server_count(source: str, leases: int | None, announced: int) -> int:
    """How many servers there are: by leases where they are counted, else as the servers say; `max`: the larger."""
    if leases is None:
        return max(announced, 1)
    return max(leases, announced, 1) if source == "max" else max(leases, 1)
