"""Proxy agent: the objects of one agent, wired together, from the options to the end after a signal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from konnectivity import kube, tls
from konnectivity.grpc.implementations import Implementation, implementation
from konnectivity.http1.forward_proxy import Proxy
from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity.tunnel.memory_budget import read_size
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent import agent_ports, server_connection
from konnectivity_agent.agent_metrics import AgentCollector, MetricSources
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_agent.dial_queue import DialQueue
from konnectivity_agent.dialer import DialCounters, Dialer
from konnectivity_agent.pool_plan import DialAddress, PoolPlan
from konnectivity_agent.resolver import Resolver
from konnectivity_agent.server_connection import ServerConnectionSettings
from konnectivity_agent.server_count import ServerCount
from konnectivity_agent.server_greeting import AgentIdentity
from konnectivity_agent.server_lookup import ServerLookup
from konnectivity_agent.server_pool import ServerPool

if TYPE_CHECKING:
    from konnectivity.kube.lease_counter import LeaseCounter

log = logs.get(__name__)

IDLE_CHECK_S = 0.2  # while draining
LEASES_TIMEOUT_S = 10.0  # seconds for the first count of leases, after which one server is assumed

Proxies = Mapping[tuple[str, int], Proxy]  # forward proxy of a server, by the host and port of the server
_NO_PROXIES: Proxies = {}


class ProxyAgent:
    """Proxy agent. Owns its server pool, its ports and its dials.

    Args:
        options: of the agent.
        agent_id: name that the agent presents to servers.
        proxies: forward proxies through which servers are reached.
        tasks: owns all tasks of the agent.

    """

    def __init__(self, options: AgentOptions, agent_id: str, proxies: Proxies, tasks: asyncio.TaskGroup) -> None:
        self._options = options
        self._tasks = tasks
        self._reached: Counter[str] = Counter()  # limits that were reached, by name
        self._tls = tls.ClientTls(options.ca_cert, options.agent_cert, options.agent_key, (*options.alpn_proto, "h2"))
        grpc = implementation(options.grpc_implementation)
        memory = options.memory_budget()
        tunnels = TunnelOptions(
            memory=memory,
            hold_s=options.stream_hold_timeout,
            extension=options.konnectivity_extension,
            reached=self._reached,
        )
        dials = DialCounters()
        self._dialer = Dialer(tasks, dials, options.policy(), Resolver(self._reached))
        connect = partial(
            server_connection.connect,
            settings=ServerConnectionSettings(
                self._tls,
                grpc,
                options.keepalive_time,
                options.heartbeat_interval,
                read_size(memory.process_budget),
                proxies,
            ),
            identity=AgentIdentity(agent_id, options.agent_identifiers, options.service_account_token_path),
            options=tunnels,
            opener=DialQueue(self._dialer.open, self._reached).open,
            tasks=tasks,
        )
        self._pool = ServerPool(
            ServerLookup(options.servers, proxies if grpc.opens_sockets else options.servers),
            PoolPlan(options.sync_interval, options.sync_interval_cap, options.sync_forever, Random()),
            ServerCount(options.server_count_source),
            connect,
            tasks,
        )
        self._leases = self._lease_counter()
        self._collector = AgentCollector(MetricSources(self._pool, dials, tunnels, self._tls, self._leases))

    async def run(self) -> None:
        """Keep a tunnel to every server, and open the connections that servers ask for, until cancelled."""
        http = await agent_ports.serve(self._options, self._collector, self._not_ready, self._reached)
        try:
            task_guard.start_loop(self._tasks, self._tls.run, "TLS files")
            if self._leases is not None:
                task_guard.start_loop(self._tasks, self._leases.run, "lease counter")
                with suppress(TimeoutError):  # the API may be down, and one server is better than none
                    async with asyncio.timeout(LEASES_TIMEOUT_S):
                        await self._leases.synced.wait()
            await self._pool.run()
            await asyncio.Event().wait()  # drained: tunnels and ports live until the agent is cancelled
        finally:
            http.close()

    async def drain(self, timeout_s: float) -> None:
        """Take no new connections; return when the open ones have ended, or after `timeout_s` (0: no timeout).

        A connection has ended when its last byte is written to the target, or to the server.
        """
        self._pool.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s or None):
                await asyncio.sleep(IDLE_CHECK_S)  # let dials under way at the server arrive
                while self._pool.connections or self._dialer.closing.unwritten or self._pool.unsent:
                    await asyncio.sleep(IDLE_CHECK_S)

    def end(self) -> None:
        """End every tunnel, and reset each target that lacks bytes: the kernel would show it a clean end."""
        self._pool.close()
        self._dialer.closing.abort_unwritten("the agent is leaving")

    def _lease_counter(self) -> LeaseCounter | None:
        options = self._options
        if not options.count_server_leases:
            return None
        from konnectivity.kube.labels import parse_selector
        from konnectivity.kube.lease_counter import LeaseCounter

        client = kube.connect(options.kubeconfig)
        selector = parse_selector(options.lease_label_selector)
        leases = LeaseCounter(
            client, options.lease_namespace, selector, lambda: self._pool.leases_counted(leases.count)
        )
        self._pool.leases_counted(leases.count)
        return leases

    def _not_ready(self) -> str | None:
        """Return why no traffic can pass; None if traffic can pass."""
        if not self._pool.servers:
            return "no servers connected"
        return None if self._pool.answering else "no server answers"


class _Stopped(Exception):
    """Raised to cancel all tasks of an agent."""


async def run(options: AgentOptions, agent_id: str, proxies: Proxies = _NO_PROXIES) -> int:
    """Run an agent until it is signalled and return the exit code: a signal drains, a second one ends at once."""
    signals = lifecycle.Signals()
    log.info("Proxy agent started", id=agent_id)
    _announce(proxies, implementation(options.grpc_implementation))
    try:
        async with asyncio.TaskGroup() as tasks:
            agent = ProxyAgent(options, agent_id, proxies, tasks)
            tasks.create_task(agent.run(), name="agent")
            await signals.first.wait()
            log.info("Signal received, draining")
            draining = tasks.create_task(agent.drain(options.drain_timeout), name="drain")
            hurry = tasks.create_task(signals.second.wait(), name="second signal")
            await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
            agent.end()
            raise _Stopped
    except* _Stopped:
        pass
    log.info("Proxy agent stopped")
    return 0


def _announce(proxies: Proxies, grpc: Implementation) -> None:
    """Log which forward proxies are in use."""
    for proxy in dict.fromkeys(proxies.values()):
        servers = [str(DialAddress(*server)) for server, each in proxies.items() if each == proxy]
        if grpc.opens_sockets:
            log.info("Connecting through a forward proxy (HTTPS_PROXY)", proxy=proxy, servers=servers)
        else:
            log.warning("HTTPS_PROXY is not honoured with grpcio, connecting directly", proxy=proxy, servers=servers)
