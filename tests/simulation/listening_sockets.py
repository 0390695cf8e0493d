"""Sockets on which simulated processes listen, with the connections that no process has accepted yet."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulation.endpoints import Endpoint

if TYPE_CHECKING:
    from simulation.network import Network
    from simulation.processes import SimulatedProcess


class ListeningSocket:
    """Socket that a process listens on, and the connections that it has not accepted yet."""

    hung_up = False

    def __init__(self, network: Network, process: SimulatedProcess, bound: Endpoint) -> None:
        self.network = network
        self.process = process
        self.family = bound.family
        self.address = bound.address
        self.options = bound.options
        self.peer_address = None
        self.queue: deque[Endpoint] = deque()
        self.reader: Any = None  # callback for a connection that waits
        self.accept: Callable[[Endpoint], object] | None = None  # takes each connection at once

    def take(self) -> Endpoint:
        """Return the connection that has waited longest."""
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self.queue.popleft()

    def arrived(self, endpoint: Endpoint) -> None:
        """Take a new connection."""
        self.queue.append(endpoint)
        self.network.loop.call_in(self.process, self.tell)

    def tell(self) -> None:
        """Tell the process about connections that wait."""
        if self.accept is not None:
            while self.queue:
                self.accept(self.queue.popleft())
        elif self.reader is not None and self.queue:
            self.reader._run()
            if self.queue:
                self.network.loop.call_soon(self.tell)

    def take_error(self) -> int:
        return 0

    def close(self) -> None:
        """Listen no more; connections that nobody accepted are reset."""
        self.network.unlisten(self)
        while self.queue:
            self.queue.popleft().reset()


class SimulatedServer:
    """What `create_server` returns."""

    def __init__(self, listening: ListeningSocket, sock: Any) -> None:
        self._listening = listening
        self.sockets = [sock]

    def close(self) -> None:
        self.sockets[0].close()
