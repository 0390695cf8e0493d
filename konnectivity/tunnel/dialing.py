"""Dialing end of a tunnel: asks the far end for connections and pairs its answers with the dials.

Owns the dials that have no answer yet. Does not know how long a dial may wait, nor what follows a failure. Used by the
server towards agents and peer servers, and by the client towards a server.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

from konnectivity import wire
from konnectivity.errors import ABANDONED, UNRECOGNIZED, DialError, DialFailure
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Status
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.states import REFERENCE_DIALING
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import Packet, packet_types

_NOBODY = "nobody waits for this connection"


class DialOutcome(Protocol):
    """Receiver of the outcome of a dial: exactly one of the two methods is called, unless the dial was withdrawn."""

    def dial_succeeded(self, connection: Connection) -> bool:
        """Attach a local side to the connection and return True; return False if nobody wants the connection.

        Data may follow as soon as the method returns.
        """

    def dial_failed(self, error: DialError) -> None:
        """Take notice that there is no connection, and why."""


class Dial(DialOutcome, Protocol):
    """A dial as the tunnel sees it that is asked for the connection."""

    @property
    def address(self) -> str:
        """Destination, as "host:port"."""

    @property
    def protocol(self) -> str:
        """Network of the destination, such as "tcp"."""

    @property
    def origin(self) -> str:
        """Name of the client, for logs."""

    @property
    def is_probe(self) -> bool:
        """Return True for a dial of the program itself, which with its connection is not counted as a client's."""


class DialingTunnel(Tunnel):
    """Dialing end of one tunnel.

    Owns the dials that the far end was asked for (`pending`) and those that wait until it has fewer (`queued`).

    Args:
        stream: message stream; the tunnel becomes its receiver.
        options: settings and counters that the tunnels of one program share.
        own_side, far_side: side of this program, and of what is behind the local sides of connections.
        on_settled: called for each dial with the seconds from the request to its answer or withdrawal, and with whether
            the answer was an error.

    """

    dialing = True
    most_pending = 1 << 62  # dials that the far end is asked for at one time; further dials are queued

    def __init__(
        self,
        stream: MessageStream,
        options: TunnelOptions,
        own_side: int,
        far_side: int,
        on_settled: Callable[[float, bool], object] | None = None,
    ) -> None:
        super().__init__(stream, options, REFERENCE_DIALING, own_side, far_side)
        self._on_settled = on_settled
        self.pending: dict[int, tuple[Dial, float]] = {}  # dials by random number, with the time of the request
        self.queued: dict[int, Dial] = {}

    @property
    def unanswered(self) -> int:
        """Number of dials that have no answer yet, asked for or queued."""
        return len(self.pending) + len(self.queued)

    def unanswered_dials(self) -> Iterator[Dial]:
        """Yield the dials that have no answer at the moment of the call; they may be withdrawn meanwhile."""
        return iter([*(dial for dial, _ in self.pending.values()), *self.queued.values()])

    def ask(self, dial: Dial) -> int:
        """Ask the far end for a connection and return the number by which the dial can be withdrawn.

        The dial is told the outcome later, never before this method returns.

        Raises:
            DialError: the tunnel is closed.

        """
        if self.closed:
            raise DialError(DialFailure.TUNNEL_LOST, "the agent's tunnel is closed")
        random = secrets.randbits(63)
        if len(self.pending) < self.most_pending:
            self._ask(random, dial)
        else:
            self.options.reached["pending_dials_per_agent"] += 1
            self.queued[random] = dial
        return random

    def withdraw(self, random: int, failure: DialFailure | None = None) -> bool:
        """Forget a dial, which is told nothing; return False if it is over.

        The far end is told to close what it opens. The failure, if one is given, is counted.
        """
        if self._settle(random) is not None:
            self.send_control(wire.close_dial(random))
        elif self.queued.pop(random, None) is None:
            return False
        if failure is not None:
            self.traffic.dial_failed(failure.value)
        return True

    def stream_closed(self, status: Status) -> None:
        """End all connections, and tell all dials that the tunnel is lost."""
        super().stream_closed(status)
        reason = status.message or status.code.name
        for random in list(self.pending):
            settled = self._settle(random)
            if settled is not None:
                self._fail(settled[0], DialFailure.TUNNEL_LOST, reason)
        for random in list(self.queued):
            dial = self.queued.pop(random, None)
            if dial is not None:
                self._fail(dial, DialFailure.TUNNEL_LOST, reason)

    def _ask(self, random: int, dial: Dial) -> None:
        self.pending[random] = dial, self._clock()
        self.send_control(wire.dial_req(dial.address, random, dial.protocol))

    def _settle(self, random: int, refused: bool = False) -> tuple[Dial, float] | None:
        """Take out a dial that the far end was asked for, and ask for the next queued one.

        Return the dial and the seconds since the request, or None if the dial is over.
        """
        found = self.pending.pop(random, None)
        if found is None:
            return None
        dial, asked_at = found
        seconds = self._clock() - asked_at
        if self._on_settled is not None and not dial.is_probe:
            self._on_settled(seconds, refused)
        if self.queued and not self.closed and len(self.pending) < self.most_pending:
            number = next(iter(self.queued))
            self._ask(number, self.queued.pop(number))
        return dial, seconds

    def _role_packet(self, packet: Packet) -> None:
        if packet.type == packet_types.DIAL_RSP:
            self._answered(packet.random, packet.connect_id, packet.error)
        elif packet.type == packet_types.DIAL_CLS:
            settled = self._settle(packet.random)
            if settled is not None:
                self._fail(settled[0], DialFailure.CLOSED_BY_AGENT, "dial closed")

    def _answered(self, random: int, connect_id: int, error: str) -> None:
        settled = self._settle(random, bool(error))
        if settled is None:  # withdrawn, or never asked for
            self.traffic.dial_failed(UNRECOGNIZED)
            if connect_id and connect_id not in self.connections and self._may_answer():
                self._close_unwanted(connect_id)
            return
        dial, seconds = settled
        if error:
            self._fail(dial, DialFailure.ENDPOINT, error)
        elif connect_id == 0 or connect_id in self.connections:
            self._fail(dial, DialFailure.PROTOCOL, f"the far side answered with connection id {connect_id}, in use")
        else:
            if not dial.is_probe:
                self.traffic.dial_seconds.observe(seconds)
            connection = self.open_connection(connect_id, dial.address, dial.origin, not dial.is_probe)
            if not dial.dial_succeeded(connection):
                self.traffic.dial_failed(ABANDONED)
                connection.local_lost(_NOBODY)

    def _close_unwanted(self, connect_id: int) -> None:
        """Close a connection that the far end opened for a dial that is over."""
        if self.extension is not None:
            self.send_control(wire.reset(connect_id, self._own_side, _NOBODY, 0, 0))
        else:
            self.send_control(wire.close_req(connect_id))

    def _close_unknown(self, connect_id: int, data: bool) -> bytes | None:
        return wire.close_req(connect_id) if data and connect_id else None

    def _fail(self, dial: Dial, failure: DialFailure, text: str) -> None:
        if not dial.is_probe:
            self.traffic.dial_failed(failure.value)
        dial.dial_failed(DialError(failure, text))
