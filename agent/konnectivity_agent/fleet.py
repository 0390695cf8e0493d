"""All servers of one agent: finds them, keeps a tunnel to each, and finds them again. Owns the uplinks and their tasks.

What to dial, and when, is `plan`'s decision; this module carries it out.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from konnectivity import logs, task_guard, tls
from konnectivity.grpc.status import RpcError
from konnectivity.serving import Opener
from konnectivity.tunnel import TunnelOptions
from konnectivity_agent import uplink as uplinks
from konnectivity_agent.plan import Address, Endpoint, Plan, server_count
from konnectivity_agent.uplink import Identity, Settings, Uplink

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)

RESOLVE_INTERVAL_S = 30.0  # how often names are looked up again while all is well
RESOLVE_TIMEOUT_S = 5.0


class Fleet:
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
        plan: Plan,
        settings: Settings,
        identity: Identity,
        options: TunnelOptions,
        opener: Opener,
        tasks: asyncio.TaskGroup,
        count_source: str,
        leases: Callable[[], int | None],
        on_change: Callable[[], object],
    ) -> None:
        self.servers: dict[str, Uplink] = {}
        self.draining = False
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
        """Servers that are connected and did not say that they are going."""
        return sum(not one.tunnel.draining for one in self.servers.values())

    @property
    def connections(self) -> int:
        return sum(len(one.tunnel.links) for one in self.servers.values())

    async def run(self) -> None:
        """Look for servers until `drain`; the tunnels that stand live on in `tasks`."""
        while not self.draining:
            await self._resolve()
            for endpoint in self._plan.next(self._loop.time(), self.staying, self.count):
                task_guard.start(
                    self._tasks,
                    functools.partial(self._try, endpoint),
                    "server",
                    f"server {endpoint.address}",
                    failed=functools.partial(self._failed, endpoint),
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
        for one in self.servers.values():
            one.tunnel.send_drain()

    def news(self) -> None:
        """Servers may have come: look for them now."""
        self._resolve_due = 0.0
        self._plan.hurry(self._loop.time())
        self._wake.set()

    async def _try(self, endpoint: Endpoint) -> None:
        """One connection through an endpoint, from its start to its end."""
        try:
            uplink = await uplinks.connect(
                endpoint.address,
                self._settings,
                self._identity,
                self._options,
                self._opener,
                self._tasks,
                self._on_change,
            )
        except (OSError, RpcError, TimeoutError, tls.TlsError) as error:
            # One line per reason, not one per try; none for one of several addresses of a host.
            reason = "" if self._plan.served(endpoint.address.host) else uplinks.why(error)
            if log.v(5) or (reason and reason != endpoint.reported):
                why = reason or uplinks.why(error)
                log.warning("Cannot connect to the server, will keep trying", server=endpoint.address, reason=why)
            endpoint.reported = reason
            self._failed(endpoint)
            return
        if uplink.server_id in self.servers or self.draining:
            if log.v(5):
                log.info("Server is connected already", server=uplink.server_id, address=endpoint.address)
            uplink.close()
            self._plan.duplicate(endpoint, uplink.server_id, self._loop.time())
        else:
            await self._serve(endpoint, uplink)
        self._wake.set()

    def _failed(self, endpoint: Endpoint) -> None:
        """Try an endpoint again later."""
        if endpoint.busy:
            self._plan.failed(endpoint, self._loop.time())
        self._resolve_due = min(self._resolve_due, self._loop.time() + self._plan.cap_s)
        self._wake.set()

    async def _serve(self, endpoint: Endpoint, uplink: Uplink) -> None:
        server_id = uplink.server_id
        self.servers[server_id] = uplink
        self._announced = uplink.server_count or 1
        self._plan.connected(endpoint, server_id, self._loop.time())
        uplink.tunnel.on_drain = partial(self._server_drains, server_id)
        uplink.tunnel.on_count = partial(self._counted, server_id)
        extension = uplink.tunnel.capabilities is not None
        source = endpoint.address.host
        peer_log.info(source, "Connected to server", server=server_id, address=endpoint.address, extension=extension)
        self._changed()
        try:
            status = await uplink.serve()
            if not status.ok:
                self.failures["from_server"] = self.failures.get("from_server", 0) + 1
            peer_log.info(source, "Server connection ended", server=server_id, reason=status)
        finally:
            del self.servers[server_id]
            self._plan.lost(server_id, self._loop.time())
            self._changed()

    def _server_drains(self, server_id: str) -> None:
        """Look for another server while the one that is going still serves."""
        peer_log.info(server_id, "Server is shutting down", server=server_id, servers=len(self.servers))
        self.news()

    def _counted(self, server_id: str, count: int) -> None:
        """Take over the number of servers that a server announces."""
        if count > 0 and count != self._announced:
            self._announced = count
            peer_log.info(server_id, "Number of servers changed", count=count, connected=len(self.servers))
            self.news()

    def _changed(self) -> None:
        self._wake.set()
        self._on_change()

    async def _resolve(self) -> None:
        """Look the names up, when it is time to."""
        if self._loop.time() < self._resolve_due:
            return
        self._resolve_due = self._loop.time() + RESOLVE_INTERVAL_S
        found: list[Address] = []
        for host, port in self._hosts:
            found += [Address(host, port, ip) for ip in await self._addresses(host, port)]
        self._plan.resolved(found)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host; an empty one if that is left to whoever connects, or they cannot be had now."""
        if self._settings.implementation == "grpcio" or (host, port) in self._settings.proxies:
            return [""]  # a forward proxy is given the name: here it may not even exist
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return [""]  # the try that follows says what is wrong
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
