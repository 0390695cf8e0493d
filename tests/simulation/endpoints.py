"""Endpoints of the simulated TCP: what the kernels of two machines know about one connection.

An endpoint takes bytes from its process while there is room, sends them as segments over the line, keeps what arrived
until the process reads it, and tells FIN, RST and loss apart. Owns no descriptor and no buffer of the process.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from simulation.machine import MACHINE

if TYPE_CHECKING:
    from simulation.lines import Line
    from simulation.network import Network
    from simulation.processes import SimulatedProcess

MAX_SEGMENT = 64 * 1024
KEEPALIVE_S = 150.0  # silence after which a socket with keepalive is given up
_LINGER_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Endpoint:
    """One end of a connection, in the kernel.

    Attributes:
        peer: other end; None: not connected.
        arrived: bytes that the process has not read.
        ended: the peer's FIN has arrived.
        tidy: the peer's TLS ended before its FIN.
        error: error number that the process is told; 0: none.
        gone: this end is closed or broken: nothing more is sent or received.
        watcher: is told that there is something to read, room to write, or an error.

    """

    def __init__(self, network: Network, process: SimulatedProcess, family: int) -> None:
        self.network = network
        self.process = process
        self.family = family
        self.options: dict[tuple[int, int], Any] = {}
        self.address: Any = ("0.0.0.0", 0) if family == socket.AF_INET else ""
        self.peer_address: Any = None
        self.peer: Endpoint | None = None
        self.line: Line | None = None
        self.number = 0
        self.arrived: deque[bytes] = deque()
        self.unread = 0
        self.ended = False
        self.tidy = False
        self.error = 0
        self.gone = False
        self.finished = False  # this end sent FIN
        self.watcher: Any = None
        self.last_arrival = 0.0  # of what this end sends
        self.room = 0  # bytes that the process may still hand over
        self.capacity = 0
        self.sent = 0  # bytes handed over by the process
        self.unacknowledged = 0
        self.forgotten = False  # by a machine in the middle
        self._loss_timer: Any = None

    # ---- called by the process ------------------------------------------------------------------------------------

    def send(self, data: memoryview | bytes) -> int:
        """Take bytes of the process, and return the number that there was room for."""
        size = min(self.room, len(data))
        if size <= 0 or self.gone or self.finished or self.peer is None or self.line is None:
            return 0
        if self.forgotten:
            self.line.carry(self.process.host, self, 0, self.reset_arrived)
            return size
        self.room -= size
        self.sent += size
        self.unacknowledged += size
        view = memoryview(data)[:size]
        while view:
            piece = bytes(view[: self._segment_size()])
            view = view[len(piece) :]
            self.line.carry(self.process.host, self, len(piece), self.peer.data_arrived, piece)
        self._watch_loss()
        return size

    def _segment_size(self) -> int:
        chance = self.network.chance
        return MAX_SEGMENT if chance.random() < 0.7 else 1 + int(chance.random() * 2000)

    def read(self, most: int) -> bytes:
        """Return bytes that have arrived, up to `most`."""
        piece = self.arrived.popleft()
        if len(piece) > most:
            self.arrived.appendleft(piece[most:])
            piece = piece[:most]
        self.unread -= len(piece)
        if self.peer is not None and self.line is not None and not self.gone:
            self.line.carry(self.process.host, self, 0, self.peer.acknowledged, len(piece))
        return piece

    def finish(self, tidy: bool = False) -> None:
        """Send FIN behind what was sent."""
        if not self.finished and not self.gone and self.peer is not None and self.line is not None:
            self.finished = True
            if self.forgotten:
                return
            self.line.carry(self.process.host, self, 0, self.peer.end_arrived, tidy)

    def close(self) -> None:
        """Close: FIN, or RST if there are unread bytes or the process wanted it so."""
        self.watcher = None
        if self.gone or self.peer is None:
            self.gone = True
            return
        if self.unread or self.options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == _LINGER_RESET:
            self.reset()
            return
        self.finish()
        self.gone = True
        self._stop_watching_loss()

    def reset(self) -> None:
        """Send RST, and forget the connection."""
        if not self.gone and self.peer is not None and self.line is not None:
            self.gone = True
            if not self.forgotten:
                self.line.carry(self.process.host, self, 0, self.peer.reset_arrived)
        self._stop_watching_loss()

    def take_error(self) -> int:
        """Return the error of the connection, once."""
        error, self.error = self.error, 0
        return error

    @property
    def hung_up(self) -> bool:
        """Return whether both directions have ended."""
        return self.gone or bool(self.error) or (self.ended and (self.finished or self.peer is None or self.peer.gone))

    # ---- called by the line ---------------------------------------------------------------------------------------

    def data_arrived(self, piece: bytes) -> None:
        """Keep bytes until the process reads them; a closed end answers RST."""
        self.network.trace.count(self.number, len(piece))
        if self.gone:
            self._refuse()
        elif not self.ended:
            self.arrived.append(piece)
            self.unread += len(piece)
            self._tell("readable")

    def end_arrived(self, tidy: bool) -> None:
        """Take notice of the peer's FIN."""
        self.network.trace.count(self.number, -1)
        if not self.gone and not self.ended:
            self.ended = True
            self.tidy = tidy
            self._tell("readable")

    def reset_arrived(self) -> None:
        """Break: the peer sent RST."""
        self.network.trace.count(self.number, -2)
        self.fail(errno.EPIPE if self.ended else errno.ECONNRESET)

    def acknowledged(self, size: int) -> None:
        """Take notice that the peer's process has read bytes."""
        if self.gone:
            return
        self.unacknowledged -= size
        self.room += size
        if not self.unacknowledged:
            self._stop_watching_loss()
        self._tell("writable")

    def fail(self, error: int) -> None:
        """Break with an error, which the process is told."""
        if not self.gone:
            self.gone = True
            self.error = error
            self._stop_watching_loss()
            self._tell("broken")

    def forget_peer(self) -> None:
        """Answer the next segment of this end with RST: the machine in the middle has forgotten the connection.

        With keepalive the next segment is a probe of the kernel, if the process sends none before.
        """
        self.forgotten = True
        if self.options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            self._probe_later()

    def _probe_later(self) -> None:
        idle_s = self.options.get((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), KEEPALIVE_S)
        self.network.kernel_at(MACHINE.now + idle_s, self._probe)

    def _probe(self) -> None:
        """Send a keepalive probe, which the machine in the middle answers with RST."""
        if self.line is not None and self.line.silent:
            self._probe_later()
        elif not self.gone:
            self.reset_arrived()

    def _refuse(self) -> None:
        """Answer a segment for a connection that this end does not know."""
        if self.peer is not None and self.line is not None and not self.peer.gone:
            self.line.carry(self.process.host, self, 0, self.peer.reset_arrived)

    def _tell(self, news: str) -> None:
        if self.watcher is not None:
            self.network.loop.call_in(self.process, self.watcher, news)

    # ---- loss -----------------------------------------------------------------------------------------------------

    def _watch_loss(self) -> None:
        """Give the connection up when bytes stay unacknowledged, or nothing is heard, for too long."""
        line = self.line
        if self._loss_timer is not None or line is None or not line.silent:
            return
        user_ms = self.options.get((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 0)
        limit_s = user_ms / 1000 if user_ms and self.unacknowledged else KEEPALIVE_S
        self._loss_timer = self.network.kernel_at(MACHINE.now + limit_s, self._lost)

    def line_silenced(self) -> None:
        """Take notice that the line carries nothing any more."""
        if not self.gone and self.peer is not None:
            self._watch_loss()

    def line_healed(self) -> None:
        """Take notice that the line carries again."""
        self._stop_watching_loss()

    def _stop_watching_loss(self) -> None:
        if self._loss_timer is not None:
            self._loss_timer.cancel()
            self._loss_timer = None

    def _lost(self) -> None:
        self._loss_timer = None
        if self.line is not None and self.line.silent and not self.gone:
            self.fail(errno.ETIMEDOUT)
            if self.peer is not None:
                self.peer.forgotten = True  # its next segment, or its keepalive, finds no connection
                self.peer._probe_later()


def error_of(number: int) -> OSError:
    """Return the exception of an error number, of the class that Python has for it."""
    return OSError(number, os.strerror(number))
