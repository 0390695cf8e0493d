"""Ends of a tenant's connections: of its agents, of its frontends, of both on one port, and of its unix socket.

Owns the TLS of one end. Does not know other tenants: a connection is handed to the end of the tenant that the client
named.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from konnectivity.runtime.logs import log_scope
from konnectivity.runtime.logs.log_scope import LogScope
from konnectivity.tls.named_context import NamedSession


class EndTls(Protocol):
    """TLS of an end."""

    def newest(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Raises:
            TlsError: there is none that can be used.

        """


class TenantEnd:
    """End of some connections of a tenant. Implements `named_context.NamedEnd`.

    Attributes:
        open: whether it takes new connections.

    Args:
        scope: scope of the tenant's log lines; None: the tenant of a connection is not known yet.
        admit: counts a new connection, and returns whether the tenant may have one more.
        make: makes the protocol of a connection.
        tls: returns the TLS of the connections, which is made for the first one; None: they come by a unix socket.

    """

    def __init__(
        self,
        scope: LogScope | None,
        admit: Callable[[], bool],
        make: Callable[[], asyncio.BaseProtocol],
        tls: Callable[[], EndTls] | None = None,
    ) -> None:
        self.open = True
        self.scope = scope
        self._admit = admit
        self._make = make
        self._tls = tls

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        assert self._tls is not None, "only ends with TLS have server names"
        return self._tls().newest()

    def protocol(self) -> asyncio.BaseProtocol | None:
        """Return the protocol of a new connection; None if the tenant has too many, or is served no more."""
        return self._make() if self.open and self._admit() else None


class EndProtocol(asyncio.Protocol):
    """Protocol of a connection until it is handed to its tenant.

    Args:
        end: end of the connection; None: the end that the client names in its TLS handshake.

    """

    def __init__(self, end: TenantEnd | None = None) -> None:
        self._end = end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection to the end of the tenant, whose name its log lines have from now on."""
        stream = cast("asyncio.Transport", transport)
        session = transport.get_extra_info("ssl_object")
        end = session.end if isinstance(session, NamedSession) else self._end
        protocol = None
        if isinstance(end, TenantEnd):
            log_scope.scope.set(end.scope)
            protocol = end.protocol()
        if protocol is None:
            stream.abort()
            return
        stream.set_protocol(protocol)
        protocol.connection_made(transport)
