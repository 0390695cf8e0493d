"""gRPC frontend of a server: ProxyService, whose calls are tunnels from kube-apiserver.

A connection on such a tunnel is joined to a connection on the tunnel of a backend. Does not know how a backend is
chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import MessageStream
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
            pending = start_dial(dial.address, dial, dial.tunnel.stream.peer, dial.protocol)
        except DialError as error:
            dial.dial_failed(error)
        else:
            dial.on_cancel = pending.cancel

    return open_incoming
