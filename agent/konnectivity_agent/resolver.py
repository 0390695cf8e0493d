"""Resolver of targets' names: the system's resolver in threads, so that a slow name server delays no other name.

Owns the threads and the lookups under way. The system's resolver cannot be called off: a lookup that nobody waits for
occupies its thread until it gives up by itself, which with a silent name server is 10 s and more. The threads are
bounded, and in three lanes. The first lane takes any name. When its threads are all occupied, a name is probed first
(`name_probe`): if its name servers answer promptly it takes a thread of the second lane, if they are slow a thread of
the third, and if they are silent it fails without one. Dials of one name share a lookup while the lookup is fresh.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import NamedTuple

from konnectivity.net.happy_eyeballs import AddressInfo
from konnectivity_agent.name_probe import Probe, Silence

FIRST_THREADS = 32  # threads for any name
PROMPT_THREADS = 24  # threads for names whose name servers answered a probe promptly
SLOW_THREADS = 8  # threads for names whose name servers answered a probe late
MAX_PER_NAME = 4  # lookups of one name at a time
FRESH_S = 2.0  # a lookup that takes longer is not joined: the next one may find the name server back

Found = list[AddressInfo] | Exception


def start_thread(work: Callable[[], None], name: str) -> None:
    """Run `work` in a daemon thread: the end of the program does not wait for a name server."""
    threading.Thread(target=work, daemon=True, name=name).start()


class SystemResolver(NamedTuple):
    """Access to the system: its resolver, its threads and its clock."""

    getaddrinfo: Callable[..., Sequence[AddressInfo]] = socket.getaddrinfo
    start_thread: Callable[[Callable[[], None], str], None] = start_thread
    clock: Callable[[], float] = monotonic


class _Lookup:
    """Lookup of one name under way."""

    __slots__ = ("answer", "began", "lane", "name", "waiters")

    def __init__(
        self, name: tuple[str, int], lane: _LookupLane, answer: asyncio.Future[list[AddressInfo]], began: float
    ) -> None:
        self.name = name  # host name and address family
        self.lane = lane
        self.answer = answer
        self.began = began
        self.waiters = 0


class _LookupLane:
    """Lane of lookups that share a bounded number of threads."""

    __slots__ = ("queue", "running", "threads")

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.queue: deque[_Lookup] = deque()
        self.running = 0

    @property
    def full(self) -> bool:
        return self.running >= self.threads


class Resolver:
    """Looks names up, many at a time.

    Args:
        reached: counts names that were probed (`name_lookups`), and names that were refused a probe (`name_probes`).
        probe: asks whether name servers answer for a name.
        threads: number of threads of the first, the second and the third lane.
        system: resolver, threads and clock; None: those of this machine.

    """

    def __init__(
        self,
        reached: Counter[str],
        probe: Probe | None = None,
        threads: tuple[int, int, int] = (FIRST_THREADS, PROMPT_THREADS, SLOW_THREADS),
        system: SystemResolver | None = None,
    ) -> None:
        self._reached = reached
        self._probe = probe or Probe()
        self._system = system or SystemResolver()
        self._under_way: dict[tuple[str, int], list[_Lookup]] = {}
        self._first, self._prompt, self._slow = map(_LookupLane, threads)

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[AddressInfo]:
        """Return the socket addresses of a host, as `socket.getaddrinfo` does.

        Args:
            host: name to look up.
            port: is put into each address.
            family: of the addresses; unspecified: both.

        Raises:
            OSError: the name cannot be looked up.
            ValueError: the host can be no name.

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
        return newest if len(under_way) >= MAX_PER_NAME or self._system.clock() - newest.began < FRESH_S else None

    def _new(self, name: tuple[str, int], lane: _LookupLane) -> _Lookup:
        lookup = _Lookup(name, lane, asyncio.get_running_loop().create_future(), self._system.clock())
        # All callers may have been cancelled: then this callback alone retrieves the exception.
        lookup.answer.add_done_callback(lambda done: done.cancelled() or done.exception())
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
            work = partial(_look_up, lookup, self._system.getaddrinfo, asyncio.get_running_loop(), self._answered)
            try:
                self._system.start_thread(work, f"lookup of {lookup.name[0]}")
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


def _look_up(
    lookup: _Lookup,
    getaddrinfo: Callable[..., Sequence[AddressInfo]],
    loop: asyncio.AbstractEventLoop,
    answered: Callable[[_Lookup, Found], None],
) -> None:
    """Look a name up in this thread, and hand the result to the event loop."""
    host, family = lookup.name
    found: Found
    try:
        found = list(getaddrinfo(host, None, family, socket.SOCK_STREAM))
    except Exception as error:
        found = error
    with suppress(RuntimeError):  # the event loop has ended
        loop.call_soon_threadsafe(answered, lookup, found)
