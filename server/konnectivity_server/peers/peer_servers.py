"""Peer servers: a tunnel to every other server of the set, for dials for which this server has no agent.

Owns the outgoing tunnels and their tasks. A peer server asks its own agents only (`peer_service`), so a dial takes one
extra hop at most and never returns. Does not know how an address is found or connected to (`peer_network`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

from konnectivity import tls
from konnectivity.grpc.status import RpcError
from konnectivity.grpc.transport import Channel
from konnectivity.net.backoff import Backoff
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.peer_network import PeerAddress
from konnectivity_server.peers.peer_tunnel import PeerTunnel

log = logs.get(__name__)

CONNECT_TIMEOUT_S = 10.0  # seconds for TCP, TLS and the peer server's answer together
RESOLVE_INTERVAL_S = 5.0
FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
KNOWN_PAUSE_S = 30.0  # until an address that led to this server itself, or to a connected one, is tried again


class Network(Protocol):
    """Resolver and connector of peer servers, such as `PeerNetwork`."""

    async def resolve(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host, or raise OSError or ValueError."""

    async def connect(self, address: PeerAddress) -> Channel:
        """Return a new connection to a peer server, or raise OSError or TlsError."""


class PeerServers:
    """Tunnels to all other servers of the set, kept while `run` runs.

    Args:
        hosts: host and port of each peer server; a host may be a name with the addresses of all servers, this one
            included, or the path of a unix socket of another worker of this server.
        network: finds and connects to addresses.
        server_id: id of this server.
        options: settings and counters that all tunnels to peer servers share.
        heartbeat_s: seconds of silence before a peer server is pinged; 0: never.
        on_change: called when a peer server is connected, is gone, or begins or ceases to take dials.
        on_suspect: called with the tunnel to a peer server that does not answer.

    """

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        network: Network,
        server_id: str,
        options: TunnelOptions,
        heartbeat_s: float,
        on_change: Callable[[], object],
        on_suspect: Callable[[DialingTunnel], object],
    ) -> None:
        self.tunnels: dict[str, PeerTunnel] = {}  # by server id
        self._hosts = hosts
        self._network = network
        self._server_id = server_id
        self._options = options
        self._heartbeat_s = heartbeat_s
        self._on_change = on_change
        self._on_suspect = on_suspect
        self._open: dict[PeerTunnel, None] = {}  # all tunnels, also those whose server id a newer tunnel has
        self._tries: dict[PeerAddress, asyncio.Task[None]] = {}
        self._random = Random()
        self._doubt = asyncio.Event()  # set for a moment when a peer server stops answering, or is gone

    def pick(self, tried: Collection[DialingTunnel] = ()) -> PeerTunnel | None:
        """Return a tunnel for a dial, or None: of two usable tunnels drawn at random the one with fewer connections.

        Args:
            tried: tunnels that the dial has tried already.

        """
        usable = [each for each in self.tunnels.values() if each.usable and each not in tried]
        if not usable:
            return None
        return min(self._random.choices(usable, k=2), key=lambda each: len(each.connections) + 4 * len(each.pending))

    @property
    def usable(self) -> bool:
        """Return whether a dial may go through a peer server."""
        return any(each.usable for each in self.tunnels.values())

    @property
    def unfinished(self) -> int:
        """Return the number of connections through peer servers that are open, and of dials that wait for an answer."""
        return sum(len(each.connections) + each.unanswered for each in self._open)

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the sockets of peer servers, or for their windows."""
        return sum(each.unsent for each in self._open)

    async def run(self) -> None:
        """Keep a tunnel to every peer server, also to those whose address appears later, until cancelled."""
        self._tries.clear()  # tasks of a run that raised an exception
        async with asyncio.TaskGroup() as tasks:
            while True:
                found = {address for host in self._hosts for address in await self._addresses(*host)}
                for address in found - self._tries.keys():
                    self._tries[address] = task_guard.start_loop(tasks, functools.partial(self._keep, address), "peer")
                for address in self._tries.keys() - found:
                    self._tries.pop(address).cancel()
                await asyncio.sleep(RESOLVE_INTERVAL_S)

    # ---- PeerTunnelOwner ------------------------------------------------------------------------------------------

    def peer_changed(self, tunnel: PeerTunnel) -> None:
        """Report that a peer server takes dials now, or takes none any more."""
        self._on_change()

    def peer_suspected(self, tunnel: PeerTunnel) -> None:
        """Move the dials of a peer server that does not answer to others, and look for its successor."""
        self._on_suspect(tunnel)
        self._try_again()
        self._on_change()

    def peer_recovered(self, tunnel: PeerTunnel) -> None:
        """Use a peer server again, unless another tunnel replaced this one meanwhile."""
        if self.tunnels.get(tunnel.server_id) is not tunnel:
            tunnel.close_when_idle()
        self._on_change()

    def peer_closed(self, tunnel: PeerTunnel) -> None:
        """Remove a tunnel that ended."""
        if self.tunnels.get(tunnel.server_id) is tunnel:
            del self.tunnels[tunnel.server_id]
            self._try_again()
            self._on_change()

    def _try_again(self) -> None:
        """Try all addresses now: one that led to a connected server may lead to the successor of another one."""
        self._doubt.set()
        self._doubt.clear()

    async def _keep(self, address: PeerAddress) -> None:
        """Connect to the server at one address, again and again."""
        backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S, 1.5, random=self._random)
        logged, peer = LoggedReasons(), f"{address.host}:{address.port}"
        while True:
            try:
                if await self._connect(address):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(KNOWN_PAUSE_S):
                            await self._doubt.wait()
                backoff.reset()
                logged.clear(peer)
            except (OSError, RpcError, ValueError, tls.TlsError) as error:  # ValueError: a name that no resolver takes
                reason = _reason_of(error)
                if logged.record(peer, reason):
                    log.warning("Cannot connect to the peer, will keep trying", peer=peer, reason=reason)
            await asyncio.sleep(backoff.next())

    async def _connect(self, address: PeerAddress) -> bool:
        """Run one tunnel from its start to its end. Return True if the server at the address is connected already."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            transport = await self._network.connect(address)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                tunnel = PeerTunnel(transport, self._options, self._server_id, self._heartbeat_s, self)
                await tunnel.greeted()
            known = self.tunnels.get(tunnel.server_id)
            if tunnel.server_id == self._server_id:
                return True
            if known is not None and not known.suspect:
                known.heartbeat.probe()  # the known tunnel may be dead, and not suspected yet
                return True
            self.tunnels[tunnel.server_id] = tunnel
            log.info("Connected to peer", peer=tunnel.server_id, address=f"{address.host}:{address.port}")
            self._on_change()
            self._open[tunnel] = None
            try:
                status = await tunnel.over
            finally:
                del self._open[tunnel]
            log.info("Peer connection ended", peer=tunnel.server_id, reason=str(status))
            return False
        finally:
            transport.close("the server is done with its peer")

    async def _addresses(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host: those known before, if the name cannot be resolved now."""
        try:
            return await self._network.resolve(host, port)
        except (OSError, ValueError):  # ValueError: a name that no resolver takes
            known = [address for address in self._tries if (address.host, address.port) == (host, port)]
            return known or [PeerAddress(host, port, host)]


def _reason_of(error: Exception) -> str:
    """Return why there is no tunnel to a peer server."""
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, RpcError | tls.TlsError):
        return str(error)
    return tls.handshake_failures.of_peer(error) or words_of(error)
