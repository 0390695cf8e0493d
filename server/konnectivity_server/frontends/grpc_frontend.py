"""The gRPC frontend: ProxyService. A frontend's stream is a tunnel whose connections are opened through an agent's."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from konnectivity.errors import DialError
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.tunnel import sides
from konnectivity.tunnel.bridge import Bridge
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.serving import DialIn, ServingTunnel
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity_server.dispatcher import Dispatcher

PATH = "/ProxyService/Proxy"


class _Join:
    """One dial of a frontend: the agent's answer becomes the frontend's."""

    __slots__ = ("_dial_in", "_dispatcher")

    def __init__(self, dial_in: DialIn, dispatcher: Dispatcher) -> None:
        self._dial_in = dial_in
        self._dispatcher = dispatcher

    def dial_succeeded(self, link: Connection) -> None:
        front = self._dial_in.connected(Bridge(link))
        if front is None:
            self._dispatcher.abandoned(link)
        else:
            link.endpoint = Bridge(front)

    def dial_failed(self, error: DialError) -> None:
        self._dial_in.failed(str(error))


@dataclass(slots=True)
class ProxyService:
    """Opens what frontends ask for."""

    dispatcher: Dispatcher
    options: TunnelOptions

    def proxy(self, stream: MessageStream) -> ServingTunnel:
        """Service of `PATH`."""
        tunnel = ServingTunnel(
            stream,
            self.options,
            sides.SERVER,
            sides.CLIENT,
            opener=functools.partial(open_through, self.dispatcher),
            single=True,
        )
        capabilities = Extension.of(stream.metadata) if self.options.extension else None
        offer = Extension(self.options.ledger.initial_window)
        stream.accept(offer.header() if capabilities is not None else {})
        tunnel.negotiated(capabilities)
        return tunnel


def open_through(dispatcher: Dispatcher, dial_in: DialIn, relayed: bool = False) -> None:
    """Open what came over a stream. `relayed`: for another server, through agents of this one only."""
    try:
        join = _Join(dial_in, dispatcher)
        origin = dial_in.tunnel.stream.peer
        dial = dispatcher.dial(dial_in.address, join, origin, dial_in.protocol, relayed)
    except DialError as error:
        dial_in.failed(str(error))
        return
    dial_in.on_cancel = dial.cancel
