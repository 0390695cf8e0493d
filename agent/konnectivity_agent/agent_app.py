"""`proxy-agent`, wired together: options -> dialer, uplink, and an orderly end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from konnectivity import kube, tls
from konnectivity.http1.forward_proxy import Proxy
from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity_agent import agent_ports
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_agent.dial_queue import DialQueue
from konnectivity_agent.dialer import Dialer, Dials
from konnectivity_agent.pool_plan import DialAddress, PoolPlan
from konnectivity_agent.server_connection import AgentIdentity, ServerConnectionSettings
from konnectivity_agent.server_pool import ServerPool

if TYPE_CHECKING:
    from konnectivity.kube.lease_counter import LeaseCounter

log = logs.get(__name__)

_IDLE_CHECK_S = 0.2
_LEASES_TIMEOUT_S = 10.0  # until the leases are counted for the first time

Proxies = Mapping[tuple[str, int], Proxy]  # of each server, by its host and port, that has a forward proxy
_NO_PROXIES: Proxies = {}


class ProxyAgent:
    """One proxy agent: `run` until cancelled. Used by `proxy-agent`, the demo and the tests."""

    def __init__(self, options: AgentOptions, agent_id: str, proxies: Proxies = _NO_PROXIES) -> None:
        self.options = options
        self.ledger = options.ledger()
        self.reached: Counter[str] = Counter()  # how often which limit was, by name
        self.tunnels = TunnelOptions(
            ledger=self.ledger,
            hold_s=options.stream_hold_timeout,
            extension=options.konnectivity_extension,
            reached=self.reached,
        )
        files = (options.ca_cert, options.agent_cert, options.agent_key)
        alpn = (*options.alpn_proto, "h2")
        self.tls = tls.ClientTls(*files, alpn)
        self._settings = ServerConnectionSettings(
            self.tls, files, options.grpc_implementation, options.keepalive_time, options.heartbeat_interval, proxies
        )
        self._identity = AgentIdentity(agent_id, options.agent_identifiers, options.service_account_token_path)
        self._plan = PoolPlan(options.sync_interval, options.sync_interval_cap, options.sync_forever, Random())
        self.connected = asyncio.Event()
        self.dials = Dials()
        self.leases: LeaseCounter | None = None
        self.fleet: ServerPool | None = None

    async def run(self) -> None:
        """Keep a tunnel to every server and open what they ask for."""
        http = await agent_ports.serve(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                task_guard.start_loop(tasks, self.tls.run, "TLS files")
                leases = self._count_leases(tasks)
                self.fleet = ServerPool(
                    self.options.servers,
                    self._plan,
                    self._settings,
                    self._identity,
                    self.tunnels,
                    DialQueue(
                        Dialer(tasks, self.dials, self.options.policy(), reached=self.reached).open, self.reached
                    ).open,
                    tasks,
                    self.options.server_count_source,
                    lambda: leases.count if leases is not None else None,
                    self._changed,
                )
                if leases is not None:
                    with suppress(TimeoutError):  # the API may be down, and one server is better than none
                        async with asyncio.timeout(_LEASES_TIMEOUT_S):
                            await leases.synced.wait()
                await self.fleet.run()
        finally:
            http.close()

    def _count_leases(self, tasks: asyncio.TaskGroup) -> LeaseCounter | None:
        options = self.options
        if not options.count_server_leases:
            return None
        from konnectivity.kube.labels import parse_selector
        from konnectivity.kube.lease_counter import LeaseCounter

        client = kube.connect(options.kubeconfig)
        selector = parse_selector(options.lease_label_selector)
        self.leases = LeaseCounter(client, options.lease_namespace, selector, self._leases_changed)
        task_guard.start_loop(tasks, self.leases.run, "lease counter")
        return self.leases

    def _leases_changed(self) -> None:
        if self.fleet is not None:
            self.fleet.news()

    async def drain(self, timeout_s: float) -> None:
        """Take no new connections; return when those open have ended, or after the timeout (0: none)."""
        fleet = self.fleet
        if fleet is None:
            return
        fleet.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s or None):
                await asyncio.sleep(_IDLE_CHECK_S)  # let dials under way at the server arrive
                while fleet.connections:
                    await asyncio.sleep(_IDLE_CHECK_S)

    def not_ready(self) -> str | None:
        """Why no traffic can pass; None if it can."""
        fleet = self.fleet
        if fleet is None or not fleet.servers:
            return agent_ports.NO_SERVER
        return None if fleet.alive else "no server answers"

    @property
    def connections(self) -> int:
        """Connections to targets that are open now."""
        return self.fleet.connections if self.fleet is not None else 0

    def _changed(self) -> None:
        if self.fleet is not None and self.fleet.alive:
            self.connected.set()
        else:
            self.connected.clear()


async def run(options: AgentOptions, agent_id: str, proxies: Proxies = _NO_PROXIES) -> int:
    """Serve until signalled: the first signal drains, a second one ends at once. Exit code."""
    signals = lifecycle.Signals()
    agent = ProxyAgent(options, agent_id, proxies)
    log.info("Proxy agent started", id=agent_id)
    _announce(proxies, options.grpc_implementation)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(agent.run(), name="agent")
        await signals.first.wait()
        log.info("Signal received, draining")
        leaving = tasks.create_task(agent.drain(options.drain_timeout), name="drain")
        hurry = tasks.create_task(signals.second.wait(), name="second signal")
        await asyncio.wait((leaving, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (leaving, hurry, running):
            task.cancel()
    log.info("Proxy agent stopped")
    return 0


def _announce(proxies: Proxies, implementation: str) -> None:
    for proxy in dict.fromkeys(proxies.values()):
        servers = [str(DialAddress(*server)) for server, each in proxies.items() if each == proxy]
        if implementation == "grpcio":
            log.warning("HTTPS_PROXY is not honoured with grpcio, connecting directly", proxy=proxy, servers=servers)
        else:
            log.info("Connecting through a forward proxy (HTTPS_PROXY)", proxy=proxy, servers=servers)
