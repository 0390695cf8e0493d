"""All servers of one agent: finds them, keeps a tunnel to each, and finds them again. Owns the uplinks and their tasks.

What to dial, and when, is `plan`'s decision; this module carries it out.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.tunnel.serving import Opener
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT
from konnectivity_agent import server_connection as uplinks
from konnectivity_agent.pool_plan import DialAddress, PoolPlan, ServerAddress, server_count
from konnectivity_agent.server_connection import AgentIdentity, ServerConnection, ServerConnectionSettings

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

RESOLVE_INTERVAL_S = 30.0  # how often names are looked up again while all is well
RESOLVE_TIMEOUT_S = 5.0
COUNT_INTERVAL_S = 1.0  # between two changes of the number of servers that are taken from servers
_IDLE_CHECK_S = 1.0  # of a tunnel that another one replaced


class ServerPool:
    """Keeps one tunnel to every server.

    Args:
        hosts: (host, port) of each server or load balancer.
        plan: what to dial and when.
        settings, identity, options, opener: of each uplink.
        tasks: where everything runs.
        count_source: `default` or `max`.
        leases: how many servers the leases say there are; None: they are not counted.
        on_change: called when a server comes, goes, falls silent or answers again.

    """

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        plan: PoolPlan,
        settings: ServerConnectionSettings,
        identity: AgentIdentity,
        options: TunnelOptions,
        opener: Opener,
        tasks: asyncio.TaskGroup,
        count_source: str,
        leases: Callable[[], int | None],
        on_change: Callable[[], object],
    ) -> None:
        self.servers: dict[str, ServerConnection] = {}  # by server id
        self._retired: set[ServerConnection] = set()  # tunnels to servers of whose id another one answers
        self.doubled: set[str] = set()  # ids that two servers have
        self.draining = False
        self.fell_silent = 0  # times that a connected server stopped answering
        self.failures: dict[str, int] = {}  # by direction, as the metric has it
        self._hosts = hosts
        self._plan = plan
        self._settings = settings
        self._identity = identity
        self._options = options
        self._opener = opener
        self._tasks = tasks
        self._count_source = count_source
        self._leases = leases
        self._on_change = on_change
        self._announced = 1
        self._next_count = 1  # what a server said last
        self._count_timer: asyncio.TimerHandle | None = None
        self._counted_at = -math.inf
        self._few_reported = False
        self._logged = LoggedReasons()  # why servers cannot be reached, by address
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._resolve_due = 0.0

    @property
    def count(self) -> int:
        """How many servers there are, as far as is known."""
        return server_count(self._count_source, self._leases(), self._announced)

    @property
    def alive(self) -> int:
        """Servers that are connected and answer."""
        return sum(one.alive for one in self.servers.values())

    @property
    def staying(self) -> int:
        """Servers that are connected, answer, and did not say that they are going."""
        return sum(one.counts for one in self.servers.values())

    @property
    def connections(self) -> int:
        return sum(len(one.tunnel.connections) for one in self._uplinks)

    @property
    def _uplinks(self) -> list[ServerConnection]:
        return [*self.servers.values(), *self._retired]

    async def run(self) -> None:
        """Look for servers until `drain`; the tunnels that stand live on in `tasks`."""
        while not self.draining:
            await self._resolve()
            if any(one.tunnel.draining for one in self._uplinks):
                self._plan.expect_return(self._loop.time())
            for endpoint in self._plan.next(self._loop.time(), self.staying, self.count):
                task_guard.start(
                    self._tasks,
                    partial(self._try, endpoint),
                    "server",
                    f"server {endpoint.address}",
                    failed=partial(self._failed, endpoint),
                )
            wait_s = self._plan.due(self._loop.time(), self.staying, self.count)
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, RESOLVE_INTERVAL_S)):
                    await self._wake.wait()

    def drain(self) -> None:
        """Tell every server to dial elsewhere, and look for no more of them."""
        self.draining = True
        self._wake.set()
        for one in self._uplinks:
            one.tunnel.send_drain()

    def news(self) -> None:
        """Servers may have come: look for them now."""
        self._resolve_due = 0.0
        self._plan.hurry(self._loop.time())
        self._wake.set()

    async def _try(self, endpoint: ServerAddress) -> None:
        """One connection through an endpoint, from its start to its end."""
        try:
            uplink = await uplinks.connect(
                endpoint.address,
                self._settings,
                self._identity,
                self._options,
                self._opener,
                self._tasks,
                self._judged,
            )
        except uplinks.CONNECT_ERRORS as error:
            # One line per reason, not one per try; none for one of several addresses of a host.
            reason = "" if self._plan.served(endpoint.address) else uplinks.why(error)
            if log.v(5) or (reason and self._logged.record(str(endpoint.address), reason)):
                why = reason or uplinks.why(error)
                log.warning("Cannot connect to the server, will keep trying", server=endpoint.address, reason=why)
            self._failed(endpoint)
            return
        self._logged.clear(str(endpoint.address))
        known = self.servers.get(uplink.server_id)
        if self.draining or (known is not None and not known.superseded_by(uplink)):
            uplink.close()
            self._plan.duplicate(endpoint, uplink.server_id, self._loop.time())
            if known is not None:
                self._met_again(known, uplink)
        else:
            if known is not None:
                self._retire(known)
            await self._serve(endpoint, uplink)
        self._wake.set()

    def _failed(self, endpoint: ServerAddress) -> None:
        """Try an endpoint again later."""
        if endpoint.busy:
            self._plan.failed(endpoint, self._loop.time())
        self._resolve_due = min(self._resolve_due, self._loop.time() + self._plan.cap_s)
        self._wake.set()

    def _met_again(self, known: ServerConnection, other: ServerConnection) -> None:
        """A try reached a server that is connected already, or one of the same id."""
        if log.v(5):
            log.info("Server is connected already", server=known.server_id, address=other.address)
        if known.instance != other.instance:
            # Either is new, or the known one is gone and was not missed yet: a moment later the heartbeat knows.
            known.probe()
            self._loop.call_later(uplinks.SUSPECT_AFTER_S + 1.0, self._check_ids, known, other)
        elif self._plan.in_vain(self.count):
            self._warn_of_few()

    def _check_ids(self, known: ServerConnection, other: ServerConnection) -> None:
        if self.servers.get(known.server_id) is not known or not known.counts:
            return
        if not self.doubled:
            log.warning(
                "Two servers have the same server ID, only one of them is used: give each its own --server-id",
                server=known.server_id,
                address=known.address,
                other=other.address,
            )
        self.doubled.add(known.server_id)

    def _warn_of_few(self) -> None:
        """Say once that there are fewer servers behind the addresses than the servers, or their leases, say."""
        if not self._few_reported and not self.doubled:
            log.warning(
                "Fewer servers found than there are: has each its own --server-id, and is each behind an address?",
                servers=self.count,
                connected=len(self.servers),
                addresses=", ".join(sorted(map(str, self._plan.endpoints))),
            )
        self._few_reported = True

    def _retire(self, known: ServerConnection) -> None:
        """Another tunnel to a server of its id takes its place. What is open on it goes on, if it answers again."""
        log.info("Server is reached anew", server=known.server_id, before=known.address)
        self._retired.add(known)
        del self.servers[known.server_id]
        self._plan.lost(known.server_id, self._loop.time())

    def _end_when_idle(self, uplink: ServerConnection) -> None:
        if uplink.tunnel.closed:
            return
        if uplink.tunnel.connections:
            self._loop.call_later(_IDLE_CHECK_S, self._end_when_idle, uplink)
        else:
            uplink.close()

    async def _serve(self, endpoint: ServerAddress, uplink: ServerConnection) -> None:
        server_id = uplink.server_id
        self.servers[server_id] = uplink
        self._announced = self._next_count = uplink.server_count or 1
        self._plan.connected(endpoint, server_id, self._loop.time())
        uplink.tunnel.on_drain = partial(self._server_drains, uplink)
        uplink.tunnel.on_count = partial(self._counted, server_id)
        extension = uplink.tunnel.extension is not None
        log.info("Connected to server", server=server_id, address=endpoint.address, extension=extension)
        self._changed()
        try:
            status = await uplink.serve()
            if not status.ok:
                self.failures["from_server"] = self.failures.get("from_server", 0) + 1
            log.info("Server connection ended", server=server_id, reason=status)
        finally:
            self._retired.discard(uplink)
            if uplink.tunnel.draining:
                self._plan.expect_return(self._loop.time())
            if self.servers.get(server_id) is uplink:
                del self.servers[server_id]
                self.doubled.discard(server_id)
                self._plan.lost(server_id, self._loop.time())
            self._changed()

    def _judged(self, uplink: ServerConnection) -> None:
        """Look for the successor of a server that fell silent, until it answers again."""
        self.fell_silent += not uplink.alive
        if uplink in self._retired:
            if uplink.alive:
                uplink.tunnel.send_drain()  # what is open on it may end in peace; new dials take the other one
                self._end_when_idle(uplink)
        elif uplink.counts:
            self._plan.trust(uplink.server_id)
        else:
            self._plan.doubt(uplink.server_id, self._loop.time())
            self._resolve_due = 0.0
        self._changed()

    def _server_drains(self, uplink: ServerConnection) -> None:
        """A server is going: look for another while it still serves."""
        peer_log.info(uplink.server_id, "Server is shutting down", server=uplink.server_id, servers=len(self.servers))
        self._plan.doubt(uplink.server_id, self._loop.time())
        self.news()

    def _counted(self, server_id: str, count: int) -> None:
        """A server says how many there are now. Of what it says in quick succession the last one is taken."""
        self._next_count = min(count, MAX_SERVER_COUNT) if count > 0 else self._next_count
        if self._next_count != self._announced and self._count_timer is None:
            wait_s = max(0.0, self._counted_at + COUNT_INTERVAL_S - self._loop.time())
            self._count_timer = self._loop.call_later(wait_s, self._take_count, server_id)

    def _take_count(self, server_id: str) -> None:
        self._count_timer = None
        self._counted_at = self._loop.time()
        if self._next_count != self._announced:
            self._announced = self._next_count
            peer_log.info(server_id, "Number of servers changed", count=self._announced, connected=len(self.servers))
            self.news()

    def _changed(self) -> None:
        self._wake.set()
        self._on_change()

    async def _resolve(self) -> None:
        """Look the names up, when it is time to."""
        if self._loop.time() < self._resolve_due:
            return
        self._resolve_due = self._loop.time() + RESOLVE_INTERVAL_S
        found: list[DialAddress] = []
        for host, port in self._hosts:
            found += [DialAddress(host, port, ip) for ip in await self._addresses(host, port)]
        self._plan.resolved(found)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host; an empty one if that is left to whoever connects, or they cannot be had now."""
        if self._settings.implementation == "grpcio" or (host, port) in self._settings.proxies:
            return [""]  # a forward proxy is given the name: here it may not even exist
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, ValueError):
            return [""]  # the try that follows says what is wrong
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
