"""Look-ups of names with the system's resolver, each in a thread: no name waits for the name server of another.

Owns the threads and the look-ups under way. The system's resolver cannot be called off: a look-up that nobody waits for
any more occupies its thread until it gives up by itself, which with a silent name server is 10 s and more. The threads
are bounded, and in three lanes. The first lane takes any name. When its threads are all occupied, a name is probed
first (`name_probe`): one whose name servers answer promptly takes a thread of the second lane, one whose name servers
are slow a thread of the third, and one whose name servers are silent takes none. Dials for one name share a look-up
while it is fresh.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from konnectivity.net.happy_eyeballs import AddressInfo
from konnectivity_agent.name_probe import Probe, Silence

FIRST_THREADS = 32  # for any name
PROMPT_THREADS = 24  # for names whose servers answered a probe promptly
SLOW_THREADS = 8  # for names whose servers took their time
MAX_PER_NAME = 4
FRESH_S = 2.0  # a look-up that takes longer is not joined: the next one may find the name server back

Found = list[AddressInfo] | Exception


class _Lookup:
    """One name under way."""

    __slots__ = ("answer", "began", "lane", "name", "waiters")

    def __init__(self, name: tuple[str, int], lane: _LookupLane, answer: asyncio.Future[list[AddressInfo]]) -> None:
        self.name = name  # and address family
        self.lane = lane
        self.answer = answer
        self.began = monotonic()
        self.waiters = 0


class _LookupLane:
    """Look-ups that share a bounded number of threads; the others wait for their turn."""

    __slots__ = ("queue", "running", "threads")

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.queue: deque[_Lookup] = deque()
        self.running = 0

    @property
    def full(self) -> bool:
        return self.running >= self.threads


class Resolver:
    """See the module.

    Args:
        probe: asks whether name servers answer.
        reached: counts names that were probed ("name_lookups"), and those that were refused ("name_probes").

    """

    def __init__(self, probe: Probe | None = None, reached: Counter[str] | None = None) -> None:
        self._probe = probe or Probe()
        self._reached: Counter[str] = Counter() if reached is None else reached
        self._under_way: dict[tuple[str, int], list[_Lookup]] = {}
        self._first = _LookupLane(FIRST_THREADS)
        self._prompt = _LookupLane(PROMPT_THREADS)
        self._slow = _LookupLane(SLOW_THREADS)

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[AddressInfo]:
        """Return what `socket.getaddrinfo` returns for streams.

        Raises:
            OSError, ValueError: as that.

        """
        name = (host, family)
        lookup = self._joinable(name)
        if lookup is None:
            lane = await self._lane_of(host) if self._first.full else self._first
            lookup = self._joinable(name) or self._new(name, lane)  # another one may have begun meanwhile
        lookup.waiters += 1
        self._start(lookup.lane)
        try:
            found = await asyncio.shield(lookup.answer)
        finally:
            lookup.waiters -= 1
        return [
            (family, kind, protocol, name, (address[0], port, *address[2:]))
            for family, kind, protocol, name, address in found
        ]

    async def _lane_of(self, host: str) -> _LookupLane:
        """Return the lane for a name, when the first one is full."""
        if self._probe.knows(host):
            return self._prompt
        self._reached["name_probes" if self._probe.full else "name_lookups"] += 1
        try:
            return self._prompt if await self._probe.ask(host) else self._slow
        except Silence as error:
            raise socket.gaierror(socket.EAI_AGAIN, str(error)) from error

    def _joinable(self, name: tuple[str, int]) -> _Lookup | None:
        under_way = self._under_way.get(name)
        if not under_way:
            return None
        newest = under_way[-1]
        return newest if len(under_way) >= MAX_PER_NAME or monotonic() - newest.began < FRESH_S else None

    def _new(self, name: tuple[str, int], lane: _LookupLane) -> _Lookup:
        lookup = _Lookup(name, lane, asyncio.get_running_loop().create_future())
        lookup.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear
        self._under_way.setdefault(name, []).append(lookup)
        lane.queue.append(lookup)
        return lookup

    def _start(self, lane: _LookupLane) -> None:
        while lane.queue and not lane.full:
            lookup = lane.queue.popleft()
            if not lookup.waiters:
                self._forget(lookup)
                lookup.answer.cancel()
                continue
            lane.running += 1
            work = (lookup, asyncio.get_running_loop(), self._answered)
            try:
                # A daemon: the end of the program does not wait for a name server.
                threading.Thread(target=_look_up, args=work, daemon=True, name=f"lookup of {lookup.name[0]}").start()
            except RuntimeError as error:
                self._answered(lookup, OSError(errno.EAGAIN, str(error)))

    def _answered(self, lookup: _Lookup, found: Found) -> None:
        lookup.lane.running -= 1
        self._forget(lookup)
        if isinstance(found, Exception):
            lookup.answer.set_exception(found)
        else:
            lookup.answer.set_result(found)
        self._start(lookup.lane)

    def _forget(self, lookup: _Lookup) -> None:
        under_way = self._under_way[lookup.name]
        under_way.remove(lookup)
        if not under_way:
            del self._under_way[lookup.name]


def _look_up(lookup: _Lookup, loop: asyncio.AbstractEventLoop, answered: Callable[[_Lookup, Found], None]) -> None:
    host, family = lookup.name
    found: Found
    try:
        found = list(socket.getaddrinfo(host, None, family, socket.SOCK_STREAM))
    except Exception as error:
        found = error
    with suppress(RuntimeError):  # the event loop has ended
        loop.call_soon_threadsafe(answered, lookup, found)
