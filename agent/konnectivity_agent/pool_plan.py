"""What to connect to next, and when: pure decisions of an agent that wants one tunnel to every server.

An **endpoint** is an address to dial. Behind one endpoint there may be one server or, with a load balancer, several;
which one answered is known by the server id it sends. An endpoint is served while a tunnel made through it stands. When
every endpoint is served and fewer servers are connected than there are, endpoints are dialled again in turn ("a draw").
Times are seconds of a clock that the caller reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from konnectivity.net.backoff import Backoff
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT

BACKOFF_FACTOR = 1.5
JITTER = 0.1
MAX_DRAWS = 4  # at a time
DRAWS_PER_SERVER = 4  # a fair balancer shows the last of ten servers in half of all cases by then
MAX_SERVERS_DRAWN = 32  # servers that DRAWS_PER_SERVER is multiplied by, at the most: what a server says may be wrong
SLOW_TRY_S = 5.0  # a try that has no answer for this long keeps no other draw from being made
RETURN_S = 60.0  # how long a server that left as planned is expected back, from the end of its tunnel on
RETURN_CAP_S = 1.5  # the longest pause between two tries in that time
STABLE_S = 5.0  # a tunnel that ends sooner counts as a failed try: a server may accept every agent and drop it


class DialAddress(NamedTuple):
    """Where to dial. `host` is what the user named: the server's certificate must name it."""

    host: str
    port: int
    ip: str = ""  # one of the addresses the host has; empty: whoever connects looks it up

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.ip})" if self.ip and self.ip != self.host else f"{host}:{self.port}"


@dataclass(slots=True)
class ServerAddress:
    """One address, and how it went there."""

    address: DialAddress
    backoff: Backoff
    servers: set[str] = field(default_factory=set)  # connected through it, or found there and connected otherwise
    busy: int = 0  # tries under way
    failing: bool = False
    due: float = 0.0  # not to be tried before
    tried_at: float = 0.0  # when the last try began
    connected_at: float = 0.0  # when a try last reached a server that was not connected


@dataclass(slots=True)
class PoolPlan:
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
    endpoints: dict[DialAddress, ServerAddress] = field(default_factory=dict)
    draw_due: float = 0.0
    doubted: set[str] = field(default_factory=set)  # connected servers that do not answer, or said that they are going
    _return_until: float = 0.0  # a server that left as planned is expected back until then
    _turn: int = 0
    _dry: int = 0  # draws in a row that found nothing new
    _short: int = 0  # tunnels in a row that ended at once
    _short_at: float = 0.0  # when the last of them did

    def resolved(self, addresses: Iterable[DialAddress]) -> None:
        """The addresses there are now. What is connected through one that went away stays connected."""
        found = {address: self.endpoints.get(address) or self._new(address) for address in addresses}
        # An address that is in use is kept until its tunnel ends.
        kept = {address: one for address, one in self.endpoints.items() if address not in found and one.servers}
        self.endpoints = {**found, **kept}

    def next(self, now: float, connected: int, count: int) -> list[ServerAddress]:
        """The endpoints to dial now: those that are not served, else draws. Marks them busy."""
        if now - self._short_at > RETURN_S:
            self._short = 0
        chosen = [one for one in self.endpoints.values() if self._due_at(one, now) <= now]
        if not chosen and self._may_draw(connected, count) and now >= self.draw_due:
            chosen = self._draws(now, connected, count)
            self.draw_due = now + self._jittered(self._draw_interval_s(now, count))
        for one in chosen:
            one.busy += 1
            one.tried_at = now
        return chosen

    def due(self, now: float, connected: int, count: int) -> float:
        """Seconds until `next` may have something new; without events in between."""
        times = [self._due_at(one, now) for one in self.endpoints.values()]
        if self._may_draw(connected, count):
            times.append(self.draw_due)
        soonest = min(times, default=math.inf)
        return self.cap_s if soonest == math.inf else max(soonest - now, 0.01)

    def connected(self, endpoint: ServerAddress, server_id: str, now: float) -> None:
        """Note that a try reached a server that was not connected."""
        self._tried(endpoint, now)  # the back-off stays until the tunnel has stood for a while
        endpoint.connected_at = now
        endpoint.servers.add(server_id)
        self.draw_due = now if not self._short else self.draw_due  # it went well: the next one at once
        self._dry = 0

    def duplicate(self, endpoint: ServerAddress, server_id: str, now: float) -> None:
        """Note that a try reached a server that is connected already."""
        self._dry += 1
        self._tried(endpoint, now)
        endpoint.backoff.reset()
        endpoint.servers.add(server_id)

    def failed(self, endpoint: ServerAddress, now: float) -> None:
        """Note that a try reached nobody: back off."""
        endpoint.busy -= 1
        endpoint.failing = True
        self._back_off(endpoint, now)

    def lost(self, server_id: str, now: float) -> None:
        """Forget a server whose tunnel ended, and dial its endpoints again, as if nothing had failed there before.

        Many agents lose it together: they come back spread over one interval. A tunnel that ended at once is a failure.
        """
        self._dry = 0
        self.doubted.discard(server_id)
        for one in self.endpoints.values():
            if server_id not in one.servers:
                continue
            one.servers.discard(server_id)
            if now - one.connected_at < STABLE_S:
                self._short += 1
                self._short_at = now
                self._back_off(one, now)
            else:
                self._short = 0
                one.backoff.reset()
                one.due = now + self.interval_s * self.random.random()

    def doubt(self, server_id: str, now: float) -> None:
        """Look for a successor of a server that does not answer, or is going, while its tunnel still stands."""
        if server_id not in self.doubted:
            self.doubted.add(server_id)
            self._dry = 0
            if not self._short:
                self.draw_due = min(self.draw_due, now + self.interval_s * 0.2 * self.random.random())

    def trust(self, server_id: str) -> None:
        """Take back `doubt`: the server answers again."""
        self.doubted.discard(server_id)

    def expect_return(self, now: float) -> None:
        """Keep pauses short for a while: a server leaves as planned, and its successor may listen at any moment."""
        self._return_until = now + RETURN_S

    def in_vain(self, count: int) -> bool:
        """Return whether draws found nothing new for so long that there may be fewer than `count` servers."""
        return self._dry >= DRAWS_PER_SERVER * min(count, MAX_SERVERS_DRAWN)

    def served(self, address: DialAddress) -> bool:
        """Return whether some address of a host is served, on the same port: a failure of another one is no news."""
        return any(one.servers for one in self.endpoints.values() if one.address[:2] == address[:2])

    def hurry(self, now: float) -> None:
        """There is news of other servers: what is backing off is due now."""
        for one in self.endpoints.values():
            one.due = min(one.due, now + self.interval_s * 0.2 * self.random.random())
            one.backoff.reset()
        if not self._short:
            self.draw_due = min(self.draw_due, now)
        self._dry = 0

    def _new(self, address: DialAddress) -> ServerAddress:
        last_s = max(self.cap_s, self.interval_s)
        return ServerAddress(
            address, Backoff(self.interval_s, last_s, BACKOFF_FACTOR, (1.0, 1.0 + JITTER), self.random)
        )

    def _back_off(self, endpoint: ServerAddress, now: float) -> None:
        endpoint.due = now + endpoint.backoff.next(self._longest_pause_s(now))

    def _due_at(self, endpoint: ServerAddress, now: float) -> float:
        """Return when to dial an endpoint that is not served; infinity if it is, or while a try may yet succeed."""
        if endpoint.servers:
            return math.inf
        if not endpoint.busy:
            return endpoint.due
        if now < self._return_until and endpoint.busy < MAX_DRAWS:  # that try may wait for an address that is gone
            return endpoint.tried_at + self._longest_pause_s(now)
        return math.inf

    def _longest_pause_s(self, now: float) -> float:
        """Return the cap of a back-off in seconds: a short one while a server is expected back."""
        if now >= self._return_until:
            return max(self.cap_s, self.interval_s)
        return max(min(self.cap_s, RETURN_CAP_S), self.interval_s)

    def _draw_interval_s(self, now: float, count: int) -> float:
        """Return the seconds between two draws: more and more if draws find nothing, as there are fewer servers."""
        most = DRAWS_PER_SERVER * min(count, MAX_SERVERS_DRAWN)
        in_vain = max(self._short, 0 if self.forever else self._dry - most, 0)
        return min(self.interval_s * BACKOFF_FACTOR ** min(in_vain, 20), self._longest_pause_s(now))

    def _may_draw(self, connected: int, count: int) -> bool:
        tried = all(one.servers or one.busy or one.failing for one in self.endpoints.values())
        served = any(one.servers for one in self.endpoints.values())
        return tried and served and (self.forever or connected < count)

    def _draws(self, now: float, connected: int, count: int) -> list[ServerAddress]:
        """Return the endpoints to dial for servers that are missing, mostly those of servers in doubt.

        The successor of a server is behind the same address, or behind another balancer.
        """
        missing = max(count - connected - self._under_way(now), 1 if self.forever else 0)
        served = [one for one in self.endpoints.values() if one.servers]
        if not served or missing <= 0:
            return []
        doubted = [one for one in served if one.servers & self.doubted] if self._turn % 3 != 2 else []
        every = doubted or served
        wanted = min(max(missing, len(doubted)), MAX_DRAWS)
        self._turn += wanted
        return [every[(self._turn - i) % len(every)] for i in range(wanted)]

    def _under_way(self, now: float) -> int:
        """Return the number of tries that may yet find a server. A few slow ones do not count."""
        busy = [one for one in self.endpoints.values() if one.busy]
        slow = sum(one.busy for one in busy if now - one.tried_at >= SLOW_TRY_S)
        every = sum(one.busy for one in busy)
        return every - slow if slow < MAX_DRAWS else every

    def _tried(self, endpoint: ServerAddress, now: float) -> None:
        endpoint.busy -= 1
        endpoint.failing = False
        endpoint.due = now

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self.random.random() * JITTER)


def server_count(source: str, leases: int | None, announced: int) -> int:
    """How many servers there are: by leases where they are counted, else as the servers say; `max`: the larger."""
    announced = min(announced, MAX_SERVER_COUNT)
    if leases is None:
        return max(announced, 1)
    return max(leases, announced, 1) if source == "max" else max(leases, 1)
