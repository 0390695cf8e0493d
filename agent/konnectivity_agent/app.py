"""`proxy-agent`, wired together: options -> dialer, uplink, and an orderly end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from konnectivity import lifecycle, logs, tls
from konnectivity.tunnel import TunnelOptions
from konnectivity_agent.cli import AgentOptions
from konnectivity_agent.dialer import Dialer
from konnectivity_agent.uplink import Identity, Target, Uplink

log = logs.get(__name__)

_IDLE_CHECK_S = 0.2


class Agent:
    """One proxy agent: `run` until cancelled. Used by `proxy-agent`, the demo and the tests."""

    def __init__(self, options: AgentOptions, agent_id: str) -> None:
        self.options = options
        self.ledger = options.ledger()
        self.tunnels = TunnelOptions(
            ledger=self.ledger, hold_s=options.stream_hold_timeout, extension=options.konnectivity_extension
        )
        files = (options.ca_cert, options.agent_cert, options.agent_key)
        alpn = (*options.alpn_proto, "h2")
        tls.client_context(
            *files, alpn=alpn
        )  # a bad file is an error at the start; later it is read for every connection
        self._target = Target(
            options.proxy_server_host,
            options.proxy_server_port,
            files,
            alpn,
            options.grpc_implementation,
            options.keepalive_time,
            options.sync_interval,
            options.sync_interval_cap,
        )
        self._identity = Identity(agent_id, options.agent_identifiers, options.service_account_token_path)
        self.connected = asyncio.Event()
        self.uplink: Uplink | None = None

    async def run(self) -> None:
        """Keep the tunnel up and open what the server asks for."""
        async with asyncio.TaskGroup() as tasks:
            self.uplink = Uplink(
                self._target, self._identity, self.tunnels, Dialer(tasks).open, tasks, on_change=self._changed
            )
            await self.uplink.run()

    async def drain(self, timeout_s: float) -> None:
        """Take no new connections; return when those open have ended, or after the timeout (0: none)."""
        uplink = self.uplink
        if uplink is None:
            return
        uplink.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s or None):
                await asyncio.sleep(_IDLE_CHECK_S)  # let dials under way at the server arrive
                while uplink.connections:
                    await asyncio.sleep(_IDLE_CHECK_S)

    def _changed(self) -> None:
        if self.uplink is not None and self.uplink.tunnel is not None:
            self.connected.set()
        else:
            self.connected.clear()


async def run(options: AgentOptions, agent_id: str) -> int:
    """Serve until signalled: the first signal drains, a second one ends at once. Exit code."""
    signals = lifecycle.Signals()
    agent = Agent(options, agent_id)
    log.info("Proxy agent started", id=agent_id)
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
