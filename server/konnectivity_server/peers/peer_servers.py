"""The other servers of the set, as ways to their agents: a tunnel to each, for dials that no agent here fits.

Owns the outgoing tunnels and their tasks. A server that gets a dial this way (`peer_service`) asks its own agents only,
so a dial takes one extra hop at most and never comes back.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from random import Random
from time import monotonic

from konnectivity import tls
from konnectivity.grpc import http2_client
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.backoff import Backoff
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs, task_guard
from konnectivity.runtime.logs.logged_reasons import LoggedReasons
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers.peer_protocol import PATH, SERVER_ID

log = logs.get(__name__)

CONNECT_TIMEOUT_S = 10.0  # TCP, TLS and the other server's answer
RESOLVE_INTERVAL_S = 5.0
RESOLVE_TIMEOUT_S = 5.0
FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
IDLE_CHECK_S = 1.0  # of a tunnel that another one replaced
KNOWN_PAUSE_S = 30.0  # until an address that led to this server itself, or to a connected one, is looked at again


class PeerTunnel(DialingTunnel):
    """This server's end of a tunnel to another one."""

    def __init__(self, transport: Channel, options: TunnelOptions, server_id: str, peers: PeerServers) -> None:
        self.over: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self.ready = False  # whether it has agents that answer
        self.server_id = ""
        self.connected_at = monotonic()
        self._peers = peers
        stream = transport.open_stream(PATH, {SERVER_ID: server_id} | options.offer(), self)
        super().__init__(stream, options, sides.SERVER, sides.CLIENT)
        self.accepted = stream.accepted
        self.heartbeat = Heartbeat(stream, self.round_trip.measure, peers.heartbeat_s, self, "server")

    @property
    def suspect(self) -> bool:
        """Whether it seems to be gone: it answers no ping."""
        return not self.heartbeat.alive

    @property
    def usable(self) -> bool:
        """Whether a dial may go through it."""
        return self.ready and not (self.suspect or self.draining or self.exhausted or self.closed)

    async def greeted(self) -> None:
        """The other server's answer is here.

        Raises:
            RpcError: it refuses, or is no server of this set.

        """
        answer = await self.accepted()
        ids = answer.get_all(SERVER_ID)
        if len(ids) != 1 or self.extension is None:
            raise RpcError(Code.FAILED_PRECONDITION, "no server of this set answers there")
        self.server_id = ids[0]
        self.log_fields = {"server": self.server_id}
        self.heartbeat.start()

    def peer_ready(self, ready: bool) -> None:
        self.ready = ready
        self._peers.on_change()

    def peer_draining(self) -> None:
        self._peers.on_change()

    def stream_closed(self, status: Status) -> None:
        self.heartbeat.stop()
        self._peers.forget(self)
        super().stream_closed(status)
        if not self.over.done():
            self.over.set_result(status)

    def peer_suspected(self) -> None:
        """Move the dials of a server that does not answer to others, and look for its successor."""
        log.warning("Peer does not answer", peer=self.server_id)
        self._peers.on_suspect(self)
        self._peers.look_again()
        self._peers.on_change()

    def peer_recovered(self) -> None:
        """Use the server again, unless another tunnel took the place of this one."""
        log.warning("Peer answers again", peer=self.server_id)
        if self._peers.tunnels.get(self.server_id) is not self:
            self._end_when_idle()  # another tunnel took its place meanwhile
        self._peers.on_change()

    def _end_when_idle(self) -> None:
        if self.closed:
            return
        if self.connections or self.pending:
            self._loop.call_later(IDLE_CHECK_S, self._end_when_idle)
        else:
            self.close()


class PeerServers:
    """Keeps a tunnel to every other server, until `run` is cancelled.

    Args:
        hosts: (host, port) of each; a host may be a name with the addresses of all of them, this server included, or
            the path of a unix socket, where another worker of this server is, without TLS.
        client_tls: shows this server's certificate, and checks theirs. None: there are paths only.
        server_id: of this server.
        options: of the tunnels.
        heartbeat_s: how long one may be silent before it is asked whether it is alive.
        on_change: called when one comes, goes, or changes its mind about being ready.
        on_suspect: called with one that does not answer.

    """

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        client_tls: tls.ClientTls | None,
        server_id: str,
        options: TunnelOptions,
        heartbeat_s: float,
        on_change: Callable[[], object],
        on_suspect: Callable[[DialingTunnel], object],
    ) -> None:
        self.tunnels: dict[str, PeerTunnel] = {}  # by server id
        self.heartbeat_s = heartbeat_s
        self.on_change = on_change
        self.on_suspect = on_suspect
        self.options = options
        self.tls = client_tls
        self._hosts = hosts
        self._server_id = server_id
        self._tries: dict[tuple[str, int, str], asyncio.Task[None]] = {}  # by host, port, address
        self._random = Random()
        self._doubt = asyncio.Event()  # set for a moment when a peer falls silent, or goes

    def pick(self, tried: Collection[DialingTunnel] = ()) -> PeerTunnel | None:
        """One that may have an agent for a dial: of two drawn at random the one with fewer connections."""
        usable = [each for each in self.tunnels.values() if each.usable and each not in tried]
        if not usable:
            return None
        return min(self._random.choices(usable, k=2), key=lambda each: len(each.connections) + 4 * len(each.pending))

    @property
    def usable(self) -> bool:
        """Whether there is one through which a dial may go."""
        return any(each.usable for each in self.tunnels.values())

    async def run(self) -> None:
        """Look for the others, and for those that come later."""
        self._tries.clear()  # tasks of a run that raised
        async with asyncio.TaskGroup() as tasks:
            while True:
                found = {address for host in self._hosts for address in await self._addresses(*host)}
                for address in found - self._tries.keys():
                    self._tries[address] = task_guard.start_loop(tasks, functools.partial(self._keep, *address), "peer")
                for address in self._tries.keys() - found:
                    self._tries.pop(address).cancel()
                await asyncio.sleep(RESOLVE_INTERVAL_S)

    def forget(self, tunnel: PeerTunnel) -> None:
        """It is over."""
        if self.tunnels.get(tunnel.server_id) is tunnel:
            del self.tunnels[tunnel.server_id]
            self.look_again()
            self.on_change()

    def look_again(self) -> None:
        """Look at all addresses now: behind one that led to a known peer there may be another one's successor."""
        self._doubt.set()
        self._doubt.clear()

    async def _keep(self, host: str, port: int, ip: str) -> None:
        """A tunnel to what answers at one address, again and again."""
        backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S, 1.5, random=self._random)
        logged, peer = LoggedReasons(), f"{host}:{port}"
        while True:
            try:
                if await self._one(host, port, ip):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(KNOWN_PAUSE_S):
                            await self._doubt.wait()
                backoff.reset()
                logged.clear(peer)
            except (OSError, RpcError, ValueError, tls.TlsError) as error:  # ValueError: a name that no resolver takes
                reason = _why(error)
                if logged.record(peer, reason):
                    log.warning("Cannot connect to the peer, will keep trying", peer=peer, reason=reason)
            await asyncio.sleep(backoff.next())

    async def _one(self, host: str, port: int, ip: str) -> bool:
        """One tunnel, from its start to its end. True: what answers there is known already."""
        transport = await self._transport(host, port, ip)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                tunnel = PeerTunnel(transport, self.options, self._server_id, self)
                await tunnel.greeted()
            known = self.tunnels.get(tunnel.server_id)
            if tunnel.server_id == self._server_id:
                return True
            if known is not None and not known.suspect:
                known.heartbeat.probe()  # it may be gone, and not be missed yet
                return True
            self.tunnels[tunnel.server_id] = tunnel
            log.info("Connected to peer", peer=tunnel.server_id, address=f"{host}:{port}")
            self.on_change()
            status = await tunnel.over
            log.info("Peer connection ended", peer=tunnel.server_id, reason=str(status))
            return False
        finally:
            transport.close("the server is done with its peer")

    async def _transport(self, host: str, port: int, ip: str) -> Channel:
        client_tls = None
        if host.startswith("/"):
            destination = Destination(host, "worker", connect_timeout_s=None, handshake_timeout_s=None)
        else:
            client_tls = self.tls
            destination = Destination((ip, port), host, connect_timeout_s=None, handshake_timeout_s=None)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await http2_client.connect(destination, client_tls, TransportOptions())

    async def _addresses(self, host: str, port: int) -> list[tuple[str, int, str]]:
        """Where a host is; where it was before, if that cannot be told now."""
        if host.startswith("/"):
            return [(host, port, host)]
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: a name that no resolver takes
            return [address for address in self._tries if address[:2] == (host, port)] or [(host, port, host)]
        return [(host, port, str(sockaddr[0])) for *_, sockaddr in found]


def _why(error: Exception) -> str:
    """Return why a peer could not be connected to."""
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, RpcError | tls.TlsError):
        return str(error)
    return tls.handshake_failures.of_peer(error) or words_of(error)
