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
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport import Channel
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs, task_guard
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.address_attempts import KNOWN_PAUSE_S, REFUSED_PAUSE_S, AddressAttempts
from konnectivity_server.peers.address_book import AddressBook, PeerAddress
from konnectivity_server.peers.peer_tunnel import PeerTunnel

log = logs.get(__name__)

CONNECT_TIMEOUT_S = 10.0  # seconds for TCP, TLS and the peer server's answer together
CONNECTED, SILENT = "connected", "silent"  # facts about a server, for the address book


class Network(Protocol):
    """Resolver and connector of peer servers, such as `PeerNetwork`.

    Attributes:
        book: facts about addresses that those who use the network share.
        news: set when a name leads elsewhere, and replaced by another event then.

    """

    book: AddressBook
    news: asyncio.Event

    async def resolve(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host, or raise OSError or ValueError."""

    async def connect(self, address: PeerAddress, options: TransportOptions) -> Channel:
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
        transport: settings of each connection.
        tenant: name of the tenant whose dials the tunnels carry; empty: the server serves one cluster.

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
        transport: TransportOptions | None = None,
        tenant: str = "",
    ) -> None:
        self.tunnels: dict[str, PeerTunnel] = {}  # by server id
        self._hosts = hosts
        self._network = network
        self._server_id = server_id
        self._options = options
        self._heartbeat_s = heartbeat_s
        self._on_change = on_change
        self._on_suspect = on_suspect
        self._transport = transport or TransportOptions()
        self._tenant = tenant
        self._book = network.book
        self._clock = asyncio.get_running_loop().time
        self._doubted_at = 0.0  # when a peer server was last lost, or connected to this one
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
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    news = self._network.news  # before looking: later news is noticed
                    await self._look_up(tasks)
                    await news.wait()
        finally:
            for tunnel in list(self._open):
                tunnel.hang_up()

    async def _look_up(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with the addresses that the names have now, and end with those that they have no more."""
        found = dict.fromkeys([address for host in self._hosts for address in await self._addresses(*host)])
        for address in [each for each in found if each not in self._tries]:
            self._tries[address] = task_guard.start_loop(tasks, functools.partial(self._keep, address), "peer")
        for address in [each for each in self._tries if each not in found]:
            self._tries.pop(address).cancel()
            self._book.forget(address)

    def look_again(self) -> None:
        """Try all addresses now: one that led to a connected server may lead to the successor of another one."""
        self._doubted_at = self._clock()
        self._doubt.set()
        self._doubt.clear()

    # ---- PeerTunnelOwner ------------------------------------------------------------------------------------------

    def peer_changed(self, tunnel: PeerTunnel) -> None:
        """Report that a peer server takes dials now, or takes none any more."""
        self._on_change()

    def peer_suspected(self, tunnel: PeerTunnel) -> None:
        """Move the dials of a peer server that does not answer to others, and look for its successor."""
        if self._book.begin(tunnel.server_id, SILENT):
            self._book.report(log.warning, "Peer does not answer", peer=tunnel.server_id)
        self._on_suspect(tunnel)
        self.look_again()
        self._on_change()

    def peer_recovered(self, tunnel: PeerTunnel) -> None:
        """Use a peer server again, unless another tunnel replaced this one meanwhile."""
        if self._book.end(tunnel.server_id, SILENT):
            self._book.report(log.warning, "Peer answers again", peer=tunnel.server_id)
        if self.tunnels.get(tunnel.server_id) is not tunnel:
            tunnel.close_when_idle()
        self._on_change()

    def peer_closed(self, tunnel: PeerTunnel, status: Status) -> None:
        """Remove a tunnel that ended."""
        if tunnel not in self._open:  # the peer server had not answered, or was known
            return
        del self._open[tunnel]
        if tunnel.suspect:
            self._book.end(tunnel.server_id, SILENT)
        if self._book.end(tunnel.server_id, CONNECTED):
            self._book.report(log.info, "Peer connection ended", peer=tunnel.server_id, reason=str(status))
        if self.tunnels.get(tunnel.server_id) is tunnel:
            del self.tunnels[tunnel.server_id]
            self.look_again()
            self._on_change()

    # ---- one address ----------------------------------------------------------------------------------------------

    async def _keep(self, address: PeerAddress) -> None:
        """Connect to the server at one address, again and again."""
        attempts = AddressAttempts(self._book, address, self._random)
        try:
            while True:
                pause_s = await self._attempt(address, attempts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._doubt.wait()
        finally:
            attempts.end()

    async def _attempt(self, address: PeerAddress, attempts: AddressAttempts) -> float:
        """Run one tunnel from its start to its end, and return the seconds until the address is tried again."""
        gate = self._book.gate(address)
        async with gate.turn():
            if self._is_known(address):
                return attempts.known_pause_s()
            try:
                tunnel = await self._connect(address)
                gate.failing = False
            except (OSError, RpcError, ValueError, tls.TlsError) as error:  # ValueError: a name that no resolver takes
                refused = isinstance(error, RpcError) and error.status.code is not Code.UNAVAILABLE
                if refused:
                    gate.failing = False  # there is a server
                    return attempts.failed(str(error), REFUSED_PAUSE_S)
                gate.failing = True
                # A server that leaves refuses a second tunnel: that is no news.
                leaving = isinstance(error, RpcError) and any(each.draining for each in self._open)
                await asyncio.sleep(attempts.pause_s() if leaving else attempts.failed(_reason_of(error)))
                return 0.0
        attempts.succeeded()
        if tunnel is None:
            return attempts.known_pause_s()
        await self._served(tunnel)
        return attempts.pause_s()

    async def _connect(self, address: PeerAddress) -> PeerTunnel | None:
        """Return a tunnel to the server at an address; None if that is this server, or one with a tunnel."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            channel = await self._network.connect(address, self._transport)
        wanted = False
        try:
            tunnel = PeerTunnel(channel, self._options, self._server_id, self._heartbeat_s, self, self._tenant)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await tunnel.greeted()
            self._book.met(address, tunnel.server_id)
            wanted = not self._has(tunnel.server_id)
        finally:
            if not wanted:
                channel.close("the server is done with its peer")
        if not wanted:
            return None
        self._opened(tunnel, address)
        return tunnel

    def _opened(self, tunnel: PeerTunnel, address: PeerAddress) -> None:
        self.tunnels[tunnel.server_id] = tunnel
        self._open[tunnel] = None
        if self._book.begin(tunnel.server_id, CONNECTED):
            where = f"{address.host}:{address.port}"
            self._book.report(log.info, "Connected to peer", peer=tunnel.server_id, address=where)
        self._on_change()

    async def _served(self, tunnel: PeerTunnel) -> None:
        """Wait until a tunnel is over, or its server leaves: a successor may be at the same address."""
        try:
            await tunnel.left
        finally:
            if not tunnel.draining:
                tunnel.hang_up()

    def _is_known(self, address: PeerAddress) -> bool:
        """Return whether the server at an address was met lately, and is this one or has a tunnel."""
        server_id = self._book.server_at(address, max(self._doubted_at, self._clock() - KNOWN_PAUSE_S))
        return server_id is not None and self._has(server_id)

    def _has(self, server_id: str) -> bool:
        """Return whether a server is this one, or has a tunnel that takes dials as far as known."""
        known = self.tunnels.get(server_id)
        if known is None or known.suspect or known.draining:
            return server_id == self._server_id
        known.heartbeat.probe()  # the known tunnel may be dead, and not suspected yet
        return True

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
