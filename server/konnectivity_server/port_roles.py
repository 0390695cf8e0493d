"""Roles of a port's clients: agents, frontends and peer servers; the choice between them on a port that they share.

A client's role is that of the authority that vouches for its certificate. Its connection has the services and limits
of that role alone. Owns the HTTP/2 connections of each role. Does not know how TLS verifies a certificate.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NoReturn, cast

from konnectivity.errors import DialError, DialFailure
from konnectivity.grpc.http2_server import Http2Server
from konnectivity.grpc.message_stream import MessageStream, Peer, Service, StreamReceiver
from konnectivity.grpc.peer import peer_of
from konnectivity.grpc.status import Code, RpcError
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.runtime import logs
from konnectivity.tunnel.dialing import DialOutcome
from konnectivity_server.frontends.connect_frontend import ConnectFrontend
from konnectivity_server.frontends.protocol_detector import ProtocolDetector
from konnectivity_server.peer_limits import ConnectLimits

peer_log = logs.get_peer_log(__name__)

Services = Mapping[str, Service]
MakeConnect = Callable[[bytes], asyncio.Protocol]  # given the bytes that were read from the client before
RoleOf = Callable[[ssl.SSLObject], str | None]

_LEAVING = RpcError(Code.UNAVAILABLE, "the server is shutting down")
_STRANGER_HEAD_BYTES = 16 * 1024  # of a CONNECT by a client that may not dial


class PortRole:
    """Role of clients of a port.

    Attributes:
        http2: the role's HTTP/2 connections.
        paths: paths of the role's gRPC calls.
        has_connect: whether the role has HTTP CONNECT.

    Args:
        name: name of the role, in the plural.
        services: handlers of the role's gRPC calls, by path; empty: the role has no gRPC.
        options: settings of each HTTP/2 connection.
        connect: returns the protocol of an HTTP CONNECT client; None: the role has no HTTP CONNECT.
        first_bytes_timeout_s: maximum seconds until the bytes that tell the protocol; 0: those of a handshake.

    """

    def __init__(
        self,
        name: str,
        services: Services,
        options: TransportOptions,
        connect: MakeConnect | None = None,
        first_bytes_timeout_s: float = 0.0,
    ) -> None:
        self.name = name
        self.paths = tuple(services)
        self.has_connect = connect is not None
        self._services = dict(services)
        self._connect = connect
        self._first_bytes_timeout_s = first_bytes_timeout_s or options.handshake_timeout_s
        self._loop = asyncio.get_running_loop()
        self.http2 = Http2Server(self._services, options)

    def new_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection: gRPC, HTTP CONNECT, or whichever the first bytes tell."""
        if self._connect is None:
            return self.http2.new_transport()
        if not self._services:
            return self._connect(b"")
        return ProtocolDetector(self.http2.new_transport, self._connect, self._first_bytes_timeout_s, self._loop)

    def leave(self) -> None:
        """Refuse new calls of the role; those in progress continue."""
        self._services.update(dict.fromkeys(self.paths, _refusing(lambda peer: _LEAVING)))

    def refuse_calls(self, paths: Iterable[str], refused: Callable[[Peer], RpcError]) -> None:
        """Answer the calls of other paths with an error."""
        self._services.update(dict.fromkeys(paths, _refusing(refused)))

    def refuse_connect(self, refused: Callable[[Peer], DialError], limits: ConnectLimits) -> None:
        """Answer every HTTP CONNECT with an error."""

        def start_dial(address: str, frontend: DialOutcome, origin: Peer, protocol: str = "tcp") -> NoReturn:
            raise refused(origin)

        strict = replace(
            limits, head_timeout_s=self._first_bytes_timeout_s, head_bytes=_STRANGER_HEAD_BYTES, refusals=1
        )
        self._connect = ConnectFrontend(start_dial, strict).protocol


class SharedPort:
    """Choice of the role of each client of one port.

    Args:
        roles: roles of the port's clients.
        role_of: returns the name of the role that the credential of a TLS session gives; None: none, or several.
        limits: limits of HTTP CONNECT, of which clients that may not dial have stricter ones.
        reached: number of times each limit was reached, by name.

    """

    def __init__(self, roles: list[PortRole], role_of: RoleOf, limits: ConnectLimits, reached: Counter[str]) -> None:
        self._roles = {role.name: role for role in roles}
        self._role_of = role_of
        self._reached = reached
        for role in roles:
            self._part(role, [other for other in roles if other is not role], limits)

    def new_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection, which has a role when its handshake is complete."""
        return _UnknownRole(self.role_of)

    def role_of(self, transport: asyncio.Transport) -> PortRole | None:
        """Return the role of a client, or None if its credential gives none, or several."""
        role = self._roles.get(self._role_of(transport.get_extra_info("ssl_object")) or "")
        if role is None:
            self._refused(peer_of(transport), "the CA of no role, or of several, vouches for its certificate")
        return role

    def _part(self, role: PortRole, others: list[PortRole], limits: ConnectLimits) -> None:
        """Let a role refuse the calls and the HTTP CONNECT of other roles."""
        for other in others:
            text = f"the credential is one of {role.name}, and the call is for {other.name}"
            role.refuse_calls(other.paths, functools.partial(self._error_of_call, text))
        if any(other.has_connect for other in others):
            text = f"the credential is one of {role.name}, which may not dial"
            role.refuse_connect(functools.partial(self._error_of_dial, text), limits)

    def _error_of_call(self, text: str, peer: Peer) -> RpcError:
        return RpcError(Code.PERMISSION_DENIED, self._refused(peer, text))

    def _error_of_dial(self, text: str, peer: Peer) -> DialError:
        return DialError(DialFailure.POLICY, self._refused(peer, text))

    def _refused(self, peer: Peer, reason: str) -> str:
        """Count and log a client without the role that it needs, and return the reason."""
        self._reached["wrong_role"] += 1
        peer_log.warning(peer.source, "Client refused on a shared port", peer=peer.name, reason=reason)
        return reason


class _UnknownRole(asyncio.Protocol):
    """Protocol of a connection whose TLS handshake is not complete."""

    def __init__(self, role_of: Callable[[asyncio.Transport], PortRole | None]) -> None:
        self._role_of = role_of

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection to its role, or end it."""
        transport = cast("asyncio.Transport", transport)
        role = self._role_of(transport)
        if role is None:
            transport.abort()
            return
        protocol = role.new_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _refusing(refused: Callable[[Peer], RpcError]) -> Service:
    def refuse(stream: MessageStream) -> StreamReceiver:
        raise refused(stream.peer)

    return refuse
