"""Looks names up, each in a thread of its own: a name that is slow, or whose name server is gone, holds up no other.

(The event loop's own `getaddrinfo` has four threads for all: a few lookups that wait for a dead name server stop the
others.) Owns the threads and what is under way. The system's resolver cannot be called off: a lookup that nobody waits
for any more goes on until it gives up by itself. Dials for one name share a lookup while it is fresh.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

MAX_LOOKUPS = 64  # at a time; more wait for their turn
MAX_PER_NAME = 4
FRESH_S = 2.0  # a lookup that takes longer is not joined: the next one may find the name server back

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
Found = list[AddressInfo] | Exception


class _Lookup:
    """One name under way."""

    __slots__ = ("answer", "began", "name", "waiters")

    def __init__(self, name: tuple[str, int], answer: asyncio.Future[list[AddressInfo]]) -> None:
        self.name = name  # and address family
        self.answer = answer
        self.began = monotonic()
        self.waiters = 0


class Resolver:
    """See the module."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], list[_Lookup]] = {}
        self._queue: deque[_Lookup] = deque()
        self._running = 0

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[AddressInfo]:
        """As `socket.getaddrinfo` for streams.

        Raises:
            OSError, ValueError: as that.
        """
        lookup = self._joinable((host, family)) or self._new((host, family))
        lookup.waiters += 1
        self._start()
        try:
            found = await asyncio.shield(lookup.answer)
        finally:
            lookup.waiters -= 1
        return [
            (family, kind, protocol, name, (address[0], port, *address[2:]))
            for family, kind, protocol, name, address in found
        ]

    def _joinable(self, name: tuple[str, int]) -> _Lookup | None:
        under_way = self._under_way.get(name)
        if not under_way:
            return None
        newest = under_way[-1]
        return newest if len(under_way) >= MAX_PER_NAME or monotonic() - newest.began < FRESH_S else None

    def _new(self, name: tuple[str, int]) -> _Lookup:
        lookup = _Lookup(name, asyncio.get_running_loop().create_future())
        lookup.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear
        self._under_way.setdefault(name, []).append(lookup)
        self._queue.append(lookup)
        return lookup

    def _start(self) -> None:
        while self._queue and self._running < MAX_LOOKUPS:
            lookup = self._queue.popleft()
            if not lookup.waiters:
                self._forget(lookup)
                lookup.answer.cancel()
                continue
            self._running += 1
            work = (lookup, asyncio.get_running_loop(), self._answered)
            try:
                # A daemon: the end of the program does not wait for a name server.
                threading.Thread(target=_look_up, args=work, daemon=True, name=f"lookup of {lookup.name[0]}").start()
            except RuntimeError as error:
                self._answered(lookup, OSError(errno.EAGAIN, str(error)))

    def _answered(self, lookup: _Lookup, found: Found) -> None:
        self._running -= 1
        self._forget(lookup)
        if isinstance(found, Exception):
            lookup.answer.set_exception(found)
        else:
            lookup.answer.set_result(found)
        self._start()

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
