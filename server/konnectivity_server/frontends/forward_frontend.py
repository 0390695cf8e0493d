"""Forward frontend of a server: SOCKS5 and HTTP proxy for programs of the control plane, without a sidecar.

Owns its listeners, its clients and the resolution of names. Dials run through the pending dials of the server, as those
of the other frontends. A tunnel's socket is handed to a relay; requests in absolute form have streams of their own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from konnectivity.client.byte_pump import Streams
from konnectivity.client.connection_transport import streams_of
from konnectivity.client.target_writer import take_unread
from konnectivity.errors import DialError, DialFailure
from konnectivity.forward.client_listeners import ClientListeners, credentials_of
from konnectivity.forward.client_session import ProxyClient, SessionSettings
from konnectivity.forward.names.name_settings import NameSettings
from konnectivity.forward.names.resolver_setup import resolution_of
from konnectivity.forward.names.service_addresses import ServiceLookup
from konnectivity.grpc.message_stream import Peer
from konnectivity.grpc.peer import peer_of
from konnectivity.net import addresses
from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialOutcome
from konnectivity_server.frontends.forward_relay import ForwardRelay
from konnectivity_server.pending_dial import PendingDial
from konnectivity_server.policy.frontend_policy import FORWARD

if TYPE_CHECKING:
    from konnectivity.forward.names.dns_listener import DnsListener

DIAL_S = 30.0  # seconds for a dial, with the look-up of its name and all of its addresses
HEAD_S = 10.0  # seconds for a SOCKS5 handshake, or for the head of a request
IDLE_S = 300.0  # seconds between two requests of a connection, and without a byte of a response
HEAD_BYTES = 64 * 1024  # of the head of a request or response

T = TypeVar("T")


class ForwardSettings(Protocol):
    """Options of the server that concern the forward frontend."""

    @property
    def forward_bind_address(self) -> str: ...
    @property
    def forward_port(self) -> int: ...
    @property
    def forward_uds_name(self) -> str: ...
    @property
    def forward_credentials_file(self) -> str: ...
    @property
    def forward_max_connections(self) -> int: ...
    @property
    def forward_dns_bind_address(self) -> str: ...
    @property
    def forward_dns_port(self) -> int: ...
    @property
    def forward_names(self) -> NameSettings: ...


class StartForwardDial(Protocol):
    """Starts dials, as `PendingDials.dial` does."""

    def __call__(
        self, address: str, frontend: DialOutcome, origin: Peer, *, asked_for: str = "", judged: bool = True
    ) -> PendingDial:
        """Ask a backend for a connection and return the pending dial."""


class ForwardFrontend:
    """Forward frontend of one server.

    Args:
        options: addresses, files and names.
        tasks: owns the tasks of clients.
        start_dial: starts the dial of a client.
        closing: sockets that may have unwritten bytes.
        reached: number of times each limit was reached, by name.
        api: Kubernetes API; None: no name needs it.

    Raises:
        StartError: the credentials file cannot be used.

    """

    def __init__(
        self,
        options: ForwardSettings,
        tasks: asyncio.TaskGroup,
        start_dial: StartForwardDial,
        closing: ClosingSockets,
        reached: Counter[str],
        api: ServiceLookup | None,
    ) -> None:
        self._options = options
        self._start_dial = start_dial
        self._closing = closing
        self._loop = asyncio.get_running_loop()
        self._names = resolution_of(options.forward_names, self._dial_name_server, api)
        credentials = credentials_of(options.forward_credentials_file)
        self._settings = SessionSettings(tasks, self, credentials, HEAD_S, IDLE_S, HEAD_BYTES, reached)
        self._listeners = ClientListeners(self._settings, options.forward_max_connections)
        self._dns: DnsListener | None = None

    @property
    def clients(self) -> int:
        """Return the number of open connections of clients."""
        return self._listeners.clients

    @property
    def dials(self) -> Counter[tuple[str, str]]:
        """Return the number of dials by protocol and result."""
        return self._settings.dials

    async def open(self, shared: bool) -> None:
        """Open the listeners; `shared`: other workers listen on the ports, too.

        Raises:
            ListenError: an address or a path cannot be bound.

        """
        options = self._options
        await self._listeners.open(options.forward_bind_address, options.forward_port, options.forward_uds_name, shared)
        if options.forward_dns_port:
            from konnectivity.forward.names.dns_listener import DnsListener  # loaded with the port only

            self._dns = DnsListener(self._names, self._settings.tasks, self._settings.reached)
            await self._dns.open(options.forward_dns_bind_address, options.forward_dns_port, shared)

    def drain(self) -> None:
        """Close the clients without a request, and the others after theirs."""
        self._settings.drain()

    def close(self) -> None:
        """Close the listeners, and end what is left of the clients."""
        self._listeners.close()
        if self._dns is not None:
            self._dns.close()

    # ---- ClientDialer ---------------------------------------------------------------------------------------------

    async def connect(self, destination: str, client: ProxyClient) -> Streams:
        """Connect to "host:port", and return the reader and the writer.

        Raises:
            DialError: the dial failed.

        """
        return await self._dial(destination, client, streams_of)

    async def join(self, destination: str, client: ProxyClient, accepted: bytes, early: bytes) -> Awaitable[None]:
        """Connect a client to "host:port", and return the end of the connection.

        Raises:
            DialError: the dial failed, or the client left.

        """

        def hand_over(connection: Connection) -> asyncio.Future[None] | None:
            transport = cast("asyncio.Transport", client.writer.transport)
            if transport.is_closing():
                return None
            transport.write(accepted)  # before the connection can deliver anything
            relay = ForwardRelay(self._loop, self._closing)
            connection.attach(relay)
            relay.adopt(transport)
            unread = take_unread(client.reader)
            relay.attach(connection, early + unread, client.reader.at_eof())
            return relay.ended

        return await self._dial(destination, client, hand_over)

    async def _dial(self, destination: str, client: ProxyClient, attach: Callable[[Connection], T | None]) -> T:
        """Dial a destination by its addresses."""
        host = addresses.split(destination)[0]
        origin = _origin_of(client)

        def dial(address: str) -> Awaitable[T]:
            return self._outcome(address, origin, "" if address == destination else host, attach)

        try:
            async with asyncio.timeout(DIAL_S):
                return await self._names.dial(destination, dial)
        except TimeoutError as error:
            raise DialError(DialFailure.TIMEOUT, f"no connection in {DIAL_S:g} s") from error

    async def _dial_name_server(self, address: str) -> Streams:
        """Connect to a name server of the cluster; this server asks, for which no policy has rules."""
        return await self._outcome(address, Peer("names", frontend=FORWARD), "", streams_of, judged=False)

    async def _outcome(
        self,
        address: str,
        origin: Peer,
        asked_for: str,
        attach: Callable[[Connection], T | None],
        judged: bool = True,
    ) -> T:
        dial = _AwaitedDial(attach)
        pending = self._start_dial(address, dial, origin, asked_for=asked_for, judged=judged)
        try:
            return await dial.outcome
        except asyncio.CancelledError:
            pending.cancel()
            dial.abandon()
            raise


class _AwaitedDial(Generic[T]):
    """Outcome of a dial that a task awaits."""

    def __init__(self, attach: Callable[[Connection], T | None]) -> None:
        self.outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._attach = attach
        self._connection: Connection | None = None

    def dial_succeeded(self, connection: Connection) -> bool:
        """Attach a local side to the connection, unless the client left."""
        made = None if self.outcome.done() else self._attach(connection)
        if made is None:
            self.dial_failed(DialError(DialFailure.CANCELLED, "the client left before there was an answer"))
            return False
        self._connection = connection
        self.outcome.set_result(made)
        return True

    def dial_failed(self, error: DialError) -> None:
        """Raise the error in the task."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def abandon(self) -> None:
        """End a connection that nobody took, because the task was cancelled in the meantime."""
        if self._connection is not None:
            self._connection.local_lost("the client left")


def _origin_of(client: ProxyClient) -> Peer:
    """Return the identity of a client: its process or address, and the user whose password it gave."""
    peer = peer_of(cast("asyncio.Transport", client.writer.transport))
    return Peer(peer.address, None, peer.process, user=client.user, frontend=FORWARD)
