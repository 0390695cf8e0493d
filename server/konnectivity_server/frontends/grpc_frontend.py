"""gRPC frontend of a server: ProxyService, whose calls are tunnels from kube-apiserver.

A connection on such a tunnel is joined to a connection on the tunnel of a backend. Does not know how a backend is
chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import MessageStream, Peer
from konnectivity.grpc.peer import with_token
from konnectivity.tunnel import sides
from konnectivity.tunnel.serving import IncomingDial, Opener, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.pending_dial import StartDial

PATH = "/ProxyService/Proxy"


@dataclass(slots=True)
class ProxyService:
    """Service that makes a serving tunnel of each call of `PATH`."""

    opener: Opener
    options: TunnelOptions

    def proxy(self, stream: MessageStream) -> ServingTunnel:
        """Accept a call, and return the tunnel that receives its messages."""
        tunnel = ServingTunnel(stream, self.options, sides.SERVER, sides.CLIENT, self.opener, single=True)
        tunnel.accept_call({})
        return tunnel


def opener_of(start_dial: StartDial) -> Opener:
    """Return an opener of serving tunnels that dials through a backend."""

    def open_incoming(dial: IncomingDial) -> None:
        try:
            pending = start_dial(dial.address, dial, _origin_of(dial.tunnel.stream), dial.protocol)
        except DialError as error:
            dial.dial_failed(error)
        else:
            dial.on_cancel = pending.cancel

    return open_incoming


def _origin_of(stream: MessageStream) -> Peer:
    """Return the client of a call, with the token that it showed."""
    shown = stream.metadata.get_all("authorization")
    scheme, _, token = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        return stream.peer
    return with_token(stream.peer, token.strip().encode("utf-8", "surrogateescape"))
