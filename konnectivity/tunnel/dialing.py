"""The dialing end of a tunnel: asks the far side for connections and pairs its answers with the requests.

Used by the server towards an agent, and by our client towards a server.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol

from konnectivity import wire
from konnectivity.errors import DIAL_TIMEOUT, UNRECOGNIZED, DialError, DialFailure
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Status
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.states import ESTABLISHED_DIALING
from konnectivity.tunnel.tunnel import Tunnel, TunnelOptions
from konnectivity.wire import Packet, packet_types


class Caller(Protocol):
    """Who asked for a connection. Exactly one of the two is called, unless the dial was cancelled."""

    def dial_succeeded(self, link: Connection) -> None:
        """Attach an endpoint (`link.endpoint = ...`) before returning: data may follow at once."""

    def dial_failed(self, error: DialError) -> None: ...


class Dial:
    """One request under way."""

    __slots__ = ("address", "asked_at", "caller", "origin", "protocol", "random", "timer", "tunnel")

    def __init__(
        self, tunnel: DialingTunnel, random: int, address: str, protocol: str, caller: Caller, origin: str
    ) -> None:
        self.tunnel = tunnel
        self.random = random
        self.address = address
        self.protocol = protocol
        self.caller = caller
        self.origin = origin
        self.asked_at = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Nobody wants the connection any more. No callback follows; what the far side opened is closed."""
        if self.withdraw():
            self.tunnel.options.traffic.dial_failed(DialFailure.CANCELLED.value)

    def withdraw(self) -> bool:
        """The same, and it does not count as a failure. False: it is over already."""
        asked = self.random in self.tunnel.pending
        if self.tunnel.settle(self.random) is None:
            return False
        if asked:
            self.tunnel.send_control(wire.close_dial(self.random))
        return True


class DialingTunnel(Tunnel):
    """See the module."""

    dialing = True
    most_pending = 1 << 62  # dials that the far side is asked for at one time; the others wait here

    def __init__(self, stream: MessageStream, options: TunnelOptions, own_side: int, far_side: int) -> None:
        super().__init__(stream, options, ESTABLISHED_DIALING, own_side, far_side)
        self.pending: dict[int, Dial] = {}
        self.queued: dict[int, Dial] = {}  # not asked for yet

    @property
    def unanswered(self) -> int:
        """Return the number of dials that have no answer yet, asked for or queued."""
        return len(self.pending) + len(self.queued)

    def dial(
        self, address: str, caller: Caller, timeout_s: float | None, protocol: str = "tcp", origin: str = ""
    ) -> Dial:
        """Ask for a connection to `address` ("host:port"). Never calls the caller before it returns.

        Args:
            address: "host:port".
            caller: who is told the outcome.
            timeout_s: how long it may take; None or 0: for as long as it takes.
            protocol: of the target.
            origin: who asked, for the log.

        Raises:
            DialError: the tunnel is gone.

        """
        if self.closed:
            raise DialError(DialFailure.TUNNEL_LOST, "the agent's tunnel is closed")
        random = secrets.randbits(63)
        dial = Dial(self, random, address, protocol, caller, origin)
        dial.asked_at = time.monotonic()
        if timeout_s:
            dial.timer = self._loop.call_later(timeout_s, self._timed_out, dial)
        if len(self.pending) < self.most_pending:
            self._ask(dial)
        else:
            self.queued[random] = dial
        return dial

    def _ask(self, dial: Dial) -> None:
        dial.asked_at = time.monotonic()
        self.pending[dial.random] = dial
        self.send_control(wire.dial_req(dial.address, dial.random, dial.protocol))

    def settle(self, random: int) -> Dial | None:
        """Take a dial out of the pending or the queued ones, once; if others are queued, ask for the next."""
        dial = self.pending.pop(random, None) or self.queued.pop(random, None)
        if dial is not None and dial.timer is not None:
            dial.timer.cancel()
        if self.queued and not self.closed and len(self.pending) < self.most_pending:
            self._ask(self.queued.pop(next(iter(self.queued))))
        return dial

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        for random in [*self.pending, *self.queued]:
            dial = self.settle(random)
            if dial is not None:
                self._failed(dial, DialFailure.TUNNEL_LOST, status.message or status.code.name)

    def _role_packet(self, packet: Packet) -> None:
        if packet.type == packet_types.DIAL_RSP:
            self._answered(packet.dialResponse.random, packet.dialResponse.connectID, packet.dialResponse.error)
        elif packet.type == packet_types.DIAL_CLS:
            dial = self.settle(packet.closeDial.random)
            if dial is not None:
                self._failed(dial, DialFailure.CLOSED_BY_AGENT, "dial closed")

    def _answered(self, random: int, connect_id: int, error: str) -> None:
        dial = self.settle(random)
        if dial is None:  # cancelled, timed out, or forged: nobody waits for it
            self._traffic.dial_failed(UNRECOGNIZED)
            if connect_id and connect_id not in self.connections and self._may_answer():
                self._refuse(connect_id)
        elif error:
            self._failed(dial, DialFailure.ENDPOINT, error)
        elif connect_id == 0 or connect_id in self.connections:
            self._failed(dial, DialFailure.PROTOCOL, f"the far side answered with connection id {connect_id}, in use")
        else:
            link = self.open_connection(connect_id)
            link.destination, link.origin = dial.address, dial.origin
            self._traffic.dial_seconds.observe(time.monotonic() - dial.asked_at)
            dial.caller.dial_succeeded(link)

    def _refuse(self, connect_id: int) -> None:
        """Close a connection that the far side opened and nobody wants."""
        if self.extension is not None:
            self.send_control(wire.reset(connect_id, self._own_side, "nobody waits for this connection", 0, 0))
        else:
            self.send_control(wire.close_req(connect_id))

    def _close_unknown(self, connect_id: int, data: bool) -> bytes | None:
        return wire.close_req(connect_id) if data and connect_id else None

    def _timed_out(self, dial: Dial) -> None:
        if dial.withdraw():
            self._failed(dial, DialFailure.TIMEOUT, DIAL_TIMEOUT)

    def _failed(self, dial: Dial, failure: DialFailure, text: str) -> None:
        self._traffic.dial_failed(failure.value)
        dial.caller.dial_failed(DialError(failure, text))
