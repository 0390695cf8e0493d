"""Address book of the peer servers: knowledge about their addresses that all tenants of the process share.

Of a thousand tenants each has a tunnel of its own to every peer server. Which server is behind an address, whether it
can be reached, and what the log has about it is the same for all: owns these facts. Opens no connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import NamedTuple

AT_ONCE = 8  # tunnels to one address that are opened at the same time: a server that starts has other work, too


class PeerAddress(NamedTuple):
    """Address of a peer server: the name or path that was configured, and the IP address behind the name."""

    host: str
    port: int
    ip: str


class AddressGate:
    """Admission of those who want to connect to one address.

    While nothing at the address can be reached, one at a time tries, and pauses inside its turn: the others learn from
    its success. Otherwise AT_ONCE connect at the same time.

    Attributes:
        failing: whether the last try of anyone did not reach a server.

    """

    def __init__(self) -> None:
        self.failing = False
        self._places = asyncio.Semaphore(AT_ONCE)
        self._scout = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the block."""
        async with self._places:
            if not self.failing:
                yield
                return
            async with self._scout:
                yield


class AddressBook:
    """Facts about the addresses of peer servers.

    Args:
        clock: monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gates: dict[PeerAddress, AddressGate] = {}
        self._servers: dict[PeerAddress, tuple[str, float]] = {}
        self._held: Counter[tuple[str, str]] = Counter()
        self._context = copy_context()

    def gate(self, address: PeerAddress) -> AddressGate:
        """Return the gate of an address."""
        return self._gates.setdefault(address, AddressGate())

    def forget(self, address: PeerAddress) -> None:
        """Forget an address that no name has any more; those who wait at its gate keep it."""
        self._gates.pop(address, None)
        self._servers.pop(address, None)

    def met(self, address: PeerAddress, server_id: str) -> None:
        """Note which server is behind an address at this moment."""
        self._servers[address] = server_id, self._clock()

    def server_at(self, address: PeerAddress, since: float) -> str | None:
        """Return the id of the server behind an address, if it was met there after a moment of the clock."""
        server_id, met_at = self._servers.get(address, ("", 0.0))
        return server_id if server_id and met_at > since else None

    def begin(self, subject: str, fact: str) -> bool:
        """Note that a fact about a subject holds for one tenant more, and return whether it is news to the process."""
        self._held[subject, fact] += 1
        return self._held[subject, fact] == 1

    def end(self, subject: str, fact: str) -> bool:
        """Note that a fact about a subject holds for one tenant less, and return whether it holds for none now."""
        self._held[subject, fact] -= 1
        if self._held[subject, fact]:
            return False
        del self._held[subject, fact]
        return True

    def report(self, write: Callable[..., object], message: str, **fields: object) -> None:
        """Write a line of the log that is about the process, whichever tenant was the first to notice."""
        self._context.copy().run(lambda: write(message, **fields))
