"""Relay of a client of the forward frontend, whose session lasts until its socket is closed.

A module of its own, since it is below a class that may be compiled and so has to be compiled with it.
"""

from __future__ import annotations

import asyncio

from konnectivity.net.closing_sockets import ClosingSockets
from konnectivity.tunnel.relay import Relay


class ForwardRelay(Relay):
    """Relay of one client.

    Attributes:
        ended: is done when the socket is closed.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, closing: ClosingSockets) -> None:
        super().__init__(loop, closing)
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection, and the session of the client."""
        super().connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(None)
