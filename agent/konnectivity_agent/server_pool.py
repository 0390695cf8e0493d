"""Server pool: one tunnel to every proxy server of an agent.

Owns the server connections, the tasks that make them, and the timer of the server count. `pool_plan` decides what to
dial and when, and the pool carries it out. Does not know how a connection is made: that is an injected function.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity_agent.pool_plan import DialAddress, PoolPlan, ServerAddress
from konnectivity_agent.server_connection import (
    CONNECT_ERRORS,
    SUSPECT_AFTER_S,
    ServerConnection,
    ServerConnectionEvents,
    failure_reason,
)
from konnectivity_agent.server_count import ServerCount
from konnectivity_agent.server_lookup import LOOKUP_INTERVAL_S, ServerLookup

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

SAME_ID_CHECK_S = SUSPECT_AFTER_S + 1.0  # by then the heartbeat of a lost connection has noticed the loss

Connect = Callable[[DialAddress, ServerConnectionEvents], Awaitable[ServerConnection]]


class ServerPool(ServerConnectionEvents):
    """Keeps one tunnel to every server, from `run` on.

    Args:
        lookup: finds the addresses of the servers.
        plan: decides what to dial and when.
        count: number of servers to look for.
        connect: makes one connection; raises one of `CONNECT_ERRORS`.
        tasks: owns the tasks of all connections.
        on_change: called after a server was connected or lost, stopped answering or answers again.

    """

    def __init__(
        self,
        lookup: ServerLookup,
        plan: PoolPlan,
        count: ServerCount,
        connect: Connect,
        tasks: asyncio.TaskGroup,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self.servers: dict[str, ServerConnection] = {}  # by server id
        self.duplicate_ids: set[str] = set()  # server ids that two servers have
        self.times_suspected = 0  # times that a connected server stopped answering
        self.failures: Counter[str] = Counter()  # failed connections by direction, a label of the metric
        self._replaced: dict[ServerConnection, None] = {}  # connections whose server id a newer connection has
        self._lookup = lookup
        self._plan = plan
        self._count = count
        self._connect = connect
        self._tasks = tasks
        self._on_change = on_change
        self._draining = False
        self._count_timer: asyncio.TimerHandle | None = None
        self._few_reported = False
        self._logged = LoggedReasons()  # reasons why servers cannot be reached, by address
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of servers to be connected to."""
        return self._count.value

    @property
    def answering(self) -> int:
        """Number of connected servers that answer."""
        return sum(server.alive for server in self.servers.values())

    @property
    def connections(self) -> int:
        """Number of open connections to targets, over all tunnels."""
        return sum(server.connections for server in self._all)

    @property
    def unsent(self) -> int:
        """Number of bytes that wait for the sockets of all tunnels."""
        return sum(server.unsent for server in self._all)

    @property
    def _available(self) -> int:
        """Number of connected servers that answer and are not draining."""
        return sum(server.available for server in self.servers.values())

    @property
    def _all(self) -> list[ServerConnection]:
        return [*self.servers.values(), *self._replaced]

    async def run(self) -> None:
        """Dial servers until `drain`; established tunnels live on in the task group."""
        while not self._draining:
            if self._lookup.due:
                self._plan.resolved(await self._lookup.addresses())
            if any(server.draining for server in self._all):
                self._plan.expect_return(self._loop.time())
            for address in self._plan.next(self._loop.time(), self._available, self.count):
                self._start(address)
            wait_s = self._plan.due(self._loop.time(), self._available, self.count)
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, LOOKUP_INTERVAL_S)):
                    await self._wake.wait()

    def drain(self) -> None:
        """Tell every server to dial elsewhere, and dial no more servers."""
        self._draining = True
        self._wake.set()
        for server in self._all:
            server.send_drain()

    def close(self) -> None:
        """Close every connection, and dial no more servers."""
        self._draining = True
        self._wake.set()
        for server in self._all:
            server.close()

    def leases_counted(self, count: int) -> None:
        """Take a new number of server leases, and look for servers at once."""
        self._count.leases_counted(count)
        self._search_now()

    # ---- ServerConnectionEvents -----------------------------------------------------------------------------------

    def verdict_changed(self, server: ServerConnection) -> None:
        """Look for a replacement of a server that stopped answering; stop looking when it answers again."""
        self.times_suspected += not server.alive
        if server in self._replaced:
            if server.alive:
                server.send_drain()  # new dials take the newer connection, open connections may end by themselves
                server.close_when_idle()
        elif server.available:
            self._plan.mark_available(server.server_id)
        else:
            self._plan.mark_unavailable(server.server_id, self._loop.time())
            self._lookup.hasten()
        self._changed()

    def server_draining(self, server: ServerConnection) -> None:
        """Look for a replacement of a server that is shutting down, while it still serves."""
        peer_log.info(server.server_id, "Server is shutting down", server=server.server_id, servers=len(self.servers))
        self._plan.mark_unavailable(server.server_id, self._loop.time())
        self._search_now()

    def server_count_announced(self, server: ServerConnection, count: int) -> None:
        """Take over, a moment later, the number of servers that a server announces."""
        wait_s = self._count.announced(count, self._loop.time())
        if wait_s is not None and self._count_timer is None:
            self._count_timer = self._loop.call_later(wait_s, self._take_count, server.server_id)

    # ---- one connection -------------------------------------------------------------------------------------------

    def _start(self, address: ServerAddress) -> None:
        task_guard.start(
            self._tasks,
            partial(self._try, address),
            "server",
            f"server {address.address}",
            failed=partial(self._failed, address),
        )

    async def _try(self, address: ServerAddress) -> None:
        """Connect to a server at `address`, and keep the connection until its end unless its server is connected."""
        try:
            server = await self._connect(address.address, self)
        except CONNECT_ERRORS as error:
            self._report(address, error)
            self._failed(address)
            return
        self._logged.clear(str(address.address))
        known = self.servers.get(server.server_id)
        if self._draining or (known is not None and not known.superseded_by(server)):
            server.close()
            self._plan.duplicate(address, server.server_id, self._loop.time())
            if known is not None:
                self._found_again(known, server)
        else:
            if known is not None:
                self._replace(known)
            await self._serve(address, server)
        self._wake.set()

    async def _serve(self, address: ServerAddress, server: ServerConnection) -> None:
        server_id = server.server_id
        self.servers[server_id] = server
        self._count.greeted(server.server_count)
        self._plan.connected(address, server_id, self._loop.time())
        log.info("Connected to server", server=server_id, address=address.address, extension=server.extension)
        self._changed()
        try:
            status = await server.ended()
            if not status.ok:
                self.failures["from_server"] += 1
            log.info("Server connection ended", server=server_id, reason=status)
        finally:
            self._remove(server)

    def _remove(self, server: ServerConnection) -> None:
        self._replaced.pop(server, None)
        if server.draining:
            self._plan.expect_return(self._loop.time())
        if self.servers.get(server.server_id) is server:
            del self.servers[server.server_id]
            self.duplicate_ids.discard(server.server_id)
            self._plan.lost(server.server_id, self._loop.time())
        self._changed()

    def _replace(self, known: ServerConnection) -> None:
        """Give the server id of `known` to a newer connection. What is open on `known` may end by itself."""
        log.info("Server is reached anew", server=known.server_id, before=known.address)
        self._replaced[known] = None
        del self.servers[known.server_id]
        self._plan.lost(known.server_id, self._loop.time())

    def _failed(self, address: ServerAddress) -> None:
        """Record a failed dial in the plan, which then says when `address` is dialled again."""
        self._plan.failed(address, self._loop.time())
        self._lookup.hasten(self._plan.cap_s)
        self._wake.set()

    def _report(self, address: ServerAddress, error: BaseException) -> None:
        """Log why no connection could be made: once per reason, and not while the host is reached at another IP."""
        reason = failure_reason(error)
        reached = self._plan.host_connected(address.address)
        if (not reached and self._logged.record(str(address.address), reason)) or log.v(5):
            log.warning("Cannot connect to the server, will keep trying", server=address.address, reason=reason)

    # ---- servers found twice, and servers not found ---------------------------------------------------------------

    def _found_again(self, known: ServerConnection, other: ServerConnection) -> None:
        """Find out why a dial reached the server id of a connected server."""
        if log.v(5):
            log.info("Server is connected already", server=known.server_id, address=other.address)
        if known.instance != other.instance:
            # Two servers have one id, or the server of `known` was replaced and its heartbeat will tell.
            known.probe()
            self._loop.call_later(SAME_ID_CHECK_S, self._check_id, known, other)
        elif self._plan.search_failed(self.count):
            self._warn_of_few()

    def _check_id(self, known: ServerConnection, other: ServerConnection) -> None:
        """Report a server id that two answering servers have."""
        if self.servers.get(known.server_id) is not known or not known.available:
            return
        if not self.duplicate_ids:
            log.warning(
                "Two servers have the same server ID, only one of them is used: give each its own --server-id",
                server=known.server_id,
                address=known.address,
                other=other.address,
            )
        self.duplicate_ids.add(known.server_id)

    def _warn_of_few(self) -> None:
        """Report once that fewer servers are found than servers or leases announce."""
        if not self._few_reported and not self.duplicate_ids:
            log.warning(
                "Fewer servers found than there are: has each its own --server-id, and is each behind an address?",
                servers=self.count,
                connected=len(self.servers),
                addresses=", ".join(sorted(map(str, self._plan.addresses))),
            )
        self._few_reported = True

    # ---- when to look again ---------------------------------------------------------------------------------------

    def _take_count(self, server_id: str) -> None:
        self._count_timer = None
        if (count := self._count.take(self._loop.time())) is not None:
            peer_log.info(server_id, "Number of servers changed", count=count, connected=len(self.servers))
            self._search_now()

    def _search_now(self) -> None:
        self._lookup.hasten()
        self._plan.hurry(self._loop.time())
        self._wake.set()

    def _changed(self) -> None:
        self._wake.set()
        self._on_change()
