"""Plan of a server pool: which server addresses to dial next, and when, so that every server gets one tunnel.

Owns what is known of each address: servers reached there, tries under way, back-off. Behind an address there is one
server or, with a load balancer, several; the server id in the greeting tells which one answered. An address that no
connected server was reached at is dialled until one is. When every address has a server, and fewer servers are
connected than there are, the plan **searches**: it dials addresses again that have a server, in turn. Pure: times are
seconds of a clock that the caller reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from konnectivity.net.backoff import Backoff

BACKOFF_FACTOR = 1.5
JITTER = 0.1
MAX_TRIES = 4  # concurrent dials of searches, and concurrent dials of one address
SEARCHES_PER_SERVER = 4  # a fair balancer shows the last of ten servers in half of all cases by then
MAX_SERVERS_SEARCHED = 32  # servers that SEARCHES_PER_SERVER is multiplied by: the announced count may be wrong
SLOW_TRY_S = 5.0  # a few tries that have no answer for this long do not keep the plan from searching
RETURN_S = 60.0  # seconds within which a server that was shut down is expected back
RETURN_PAUSE_S = 1.5  # the longest pause between two tries in that time
STABLE_S = 5.0  # a tunnel that ends sooner counts as a failed try: a server may accept every agent and drop it


class DialAddress(NamedTuple):
    """Address to dial. `host` is what the user configured, and what the server's certificate must name."""

    host: str
    port: int
    ip: str = ""  # one of the addresses of the host; empty: looked up when dialled

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.ip})" if self.ip and self.ip != self.host else f"{host}:{self.port}"


@dataclass(slots=True)
class ServerAddress:
    """Record of one address. Written by the plan only."""

    address: DialAddress
    backoff: Backoff
    servers: set[str] = field(default_factory=set)  # ids of connected servers that were reached here
    tries: int = 0  # dials under way
    failing: bool = False  # the last try reached no server
    due_at: float = 0.0  # earliest time of the next dial
    tried_at: float = 0.0  # begin of the last try
    connected_at: float = 0.0  # last time that a try reached a server that was not connected


@dataclass(slots=True)
class PoolPlan:
    """Addresses of a server pool, and the decision which of them to dial.

    Args:
        interval_s: pause between two tries; the first step of the back-off.
        cap_s: the longest back-off.
        forever: whether to search even when all servers are connected.
        random: source of jitter.

    """

    interval_s: float
    cap_s: float
    forever: bool
    random: Random
    addresses: dict[DialAddress, ServerAddress] = field(default_factory=dict)
    _unavailable: set[str] = field(default_factory=set)  # ids of connected servers that do not answer, or drain
    _search_at: float = 0.0  # earliest time of the next search
    _return_until: float = 0.0  # a server that was shut down is expected back until then
    _turn: int = 0  # index of the address that the next search dials
    _fruitless: int = 0  # searches in a row that found no new server
    _short_lived: int = 0  # tunnels in a row that ended within STABLE_S
    _short_lived_at: float = 0.0  # end of the last short-lived tunnel

    def resolved(self, addresses: Iterable[DialAddress]) -> None:
        """Take the result of a lookup. An address that is gone is kept until the tunnels made there end."""
        found = {address: self.addresses.get(address) or self._new(address) for address in addresses}
        kept = {address: one for address, one in self.addresses.items() if address not in found and one.servers}
        self.addresses = {**found, **kept}

    def next(self, now: float, connected: int, count: int) -> list[ServerAddress]:
        """Return the addresses to dial now, and note a try for each: those without a server, else those to search.

        Args:
            now: the time.
            connected: number of servers that are connected and available.
            count: number of servers there are.

        """
        if now - self._short_lived_at > RETURN_S:
            self._short_lived = 0
        chosen = [one for one in self.addresses.values() if self._due_at(one, now) <= now]
        if not chosen and self._may_search(connected, count) and now >= self._search_at:
            chosen = self._searched(now, connected, count)
            self._search_at = now + self._jittered(self._search_pause_s(now, count))
        for one in chosen:
            one.tries += 1
            one.tried_at = now
        return chosen

    def due(self, now: float, connected: int, count: int) -> float:
        """Return the seconds after which `next` may return an address, if nothing happens before."""
        times = [self._due_at(one, now) for one in self.addresses.values()]
        if self._may_search(connected, count):
            times.append(self._search_at)
        soonest = min(times, default=math.inf)
        return self.cap_s if soonest == math.inf else max(soonest - now, 0.01)

    # ---- results of tries -----------------------------------------------------------------------------------------

    def connected(self, address: ServerAddress, server_id: str, now: float) -> None:
        """Note that a try reached a server that was not connected."""
        self._answered(address, now)  # the back-off stays until the tunnel has lasted for STABLE_S
        address.connected_at = now
        address.servers.add(server_id)
        if not self._short_lived:
            self._search_at = now
        self._fruitless = 0

    def duplicate(self, address: ServerAddress, server_id: str, now: float) -> None:
        """Note that a try reached a server that is connected already."""
        self._fruitless += 1
        self._answered(address, now)
        address.backoff.reset()
        address.servers.add(server_id)

    def failed(self, address: ServerAddress, now: float) -> None:
        """Note that a try reached no server: back off. Without a try under way this changes nothing."""
        if address.tries:
            address.tries -= 1
            address.failing = True
            self._back_off(address, now)

    def host_connected(self, address: DialAddress) -> bool:
        """Return whether a server is connected at any IP address of the same host and port."""
        return any(one.servers for one in self.addresses.values() if one.address[:2] == address[:2])

    # ---- news of connected servers --------------------------------------------------------------------------------

    def lost(self, server_id: str, now: float) -> None:
        """Note that the tunnel to a server ended: dial its addresses again.

        Many agents lose a server together, so each waits for a random part of one interval. A tunnel that ended within
        STABLE_S counts as a failed try instead.
        """
        self._fruitless = 0
        self._unavailable.discard(server_id)
        for one in self.addresses.values():
            if server_id not in one.servers:
                continue
            one.servers.discard(server_id)
            if now - one.connected_at < STABLE_S:
                self._short_lived += 1
                self._short_lived_at = now
                self._back_off(one, now)
            else:
                self._short_lived = 0
                one.backoff.reset()
                one.due_at = now + self.interval_s * self.random.random()

    def mark_unavailable(self, server_id: str, now: float) -> None:
        """Search for a replacement of a connected server that does not answer, or is draining."""
        if server_id not in self._unavailable:
            self._unavailable.add(server_id)
            self._fruitless = 0
            if not self._short_lived:
                self._search_at = min(self._search_at, now + self.interval_s * 0.2 * self.random.random())

    def mark_available(self, server_id: str) -> None:
        """Undo `mark_unavailable`: the server answers again."""
        self._unavailable.discard(server_id)

    def expect_return(self, now: float) -> None:
        """Keep pauses short for RETURN_S: a server is being shut down, and its successor may listen at any moment."""
        self._return_until = now + RETURN_S

    def hurry(self, now: float) -> None:
        """Forget back-offs, because there may be new servers: every address is due within a fifth of an interval."""
        for one in self.addresses.values():
            one.due_at = min(one.due_at, now + self.interval_s * 0.2 * self.random.random())
            one.backoff.reset()
        if not self._short_lived:
            self._search_at = min(self._search_at, now)
        self._fruitless = 0

    def search_failed(self, count: int) -> bool:
        """Return whether enough searches found no new server to conclude that there are fewer than `count`."""
        return self._fruitless >= _searches(count)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _due_at(self, address: ServerAddress, now: float) -> float:
        """Return when to dial an address without a server; infinity if it has one, or a try there may yet succeed."""
        if address.servers:
            return math.inf
        if not address.tries:
            return address.due_at
        if now < self._return_until and address.tries < MAX_TRIES:  # the try may be waiting for a host that is gone
            return address.tried_at + self._longest_pause_s(now)
        return math.inf

    def _may_search(self, connected: int, count: int) -> bool:
        tried = all(one.servers or one.tries or one.failing for one in self.addresses.values())
        reached = any(one.servers for one in self.addresses.values())
        return tried and reached and (self.forever or connected < count)

    def _searched(self, now: float, connected: int, count: int) -> list[ServerAddress]:
        """Return the addresses to search for missing servers.

        Two searches of three dial addresses of unavailable servers, where replacements are likely; the third one dials
        any address, as the replacement may be behind another balancer.
        """
        missing = max(count - connected - self._under_way(now), 1 if self.forever else 0)
        reached = [one for one in self.addresses.values() if one.servers]
        if not reached or missing <= 0:
            return []
        likely = [one for one in reached if one.servers & self._unavailable] if self._turn % 3 != 2 else []
        candidates = likely or reached
        wanted = min(max(missing, len(likely)), MAX_TRIES)
        self._turn += wanted
        return [candidates[(self._turn - i) % len(candidates)] for i in range(wanted)]

    def _under_way(self, now: float) -> int:
        """Return the number of tries that may yet find a server; fewer than MAX_TRIES slow ones do not count."""
        slow = sum(one.tries for one in self.addresses.values() if now - one.tried_at >= SLOW_TRY_S)
        every = sum(one.tries for one in self.addresses.values())
        return every - slow if slow < MAX_TRIES else every

    def _search_pause_s(self, now: float, count: int) -> float:
        """Return the seconds between two searches; they grow while searches find no new server."""
        in_excess = max(self._short_lived, 0 if self.forever else self._fruitless - _searches(count), 0)
        return min(self.interval_s * BACKOFF_FACTOR ** min(in_excess, 20), self._longest_pause_s(now))

    def _longest_pause_s(self, now: float) -> float:
        """Return the cap of a back-off in seconds; it is short while a server is expected back."""
        cap_s = self.cap_s if now >= self._return_until else min(self.cap_s, RETURN_PAUSE_S)
        return max(cap_s, self.interval_s)

    def _answered(self, address: ServerAddress, now: float) -> None:
        """Note that a server answered at an address."""
        address.tries -= 1
        address.failing = False
        address.due_at = now

    def _new(self, address: DialAddress) -> ServerAddress:
        longest_s = max(self.cap_s, self.interval_s)
        spread = (1.0, 1.0 + JITTER)
        return ServerAddress(address, Backoff(self.interval_s, longest_s, BACKOFF_FACTOR, spread, self.random))

    def _back_off(self, address: ServerAddress, now: float) -> None:
        address.due_at = now + address.backoff.next(self._longest_pause_s(now))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self.random.random() * JITTER)


def _searches(count: int) -> int:
    """Return the number of fruitless searches in a row after which the plan searches ever more rarely."""
    return SEARCHES_PER_SERVER * min(count, MAX_SERVERS_SEARCHED)
