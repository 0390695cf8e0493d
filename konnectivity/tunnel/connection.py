"""State machine of one proxied connection at one end of a tunnel. Pure: no sockets, no clock, no event loop.

A connection stands between its **local side** (a client's or target's socket, or a connection of another tunnel) and
its **tunnel side**. It owns its state and its two directions:

    outbound   local side -> tunnel: bytes that wait for credit or for the shared stream
    inbound    tunnel -> local side: the credit granted, and the bytes received

The reaction to each input is in the tables of `states`, one for each dialect.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity import wire
from konnectivity.tunnel import sides
from konnectivity.tunnel.inbound_flow import InboundFlow
from konnectivity.tunnel.interfaces import NOWHERE, UNREAD_TIMEOUT_S, LocalSide, TunnelSide
from konnectivity.tunnel.outbound_queue import OutboundQueue
from konnectivity.tunnel.states import EXTENDED, Action, Input, State, Table, cause_of

END_TIMEOUT_S = 30.0  # without progress, after this side ended both directions, until the peer's end arrives
HALF_CLOSED_TIMEOUT_S = 60.0  # reference protocol: longest time of an answer after the client ended its side
CLOSE_GRACE_S = 1.0  # reference protocol: CLOSE_REQ discards what the peer still has queued, so let it settle
CLOSE_TIMEOUT_S = 10.0  # reference protocol: CLOSE_REQ without CLOSE_RSP


class Connection:
    """Connection at one end of one tunnel.

    Args:
        connect_id: the connection's number on this tunnel.
        tunnel: the tunnel.
        table: the dialect spoken on it.
        dialing: whether this end dialed (it decides the packet that closes, in the reference protocol).
        credit: bytes per direction the peer grants at first; None: the peer knows no credit.
        side: side that is behind the local side, of `sides`.
        own_side: side of this program.
        destination: address of the target, for logs.
        origin: frontend that asked for the connection, for logs.

    Attributes:
        outbound: direction from the local side to the tunnel.
        inbound: direction from the tunnel to the local side.
        opened_at: when it was opened, on the tunnel's clock.
        reason: why it ended, or will end, in words.
        cause: kind of reason, for metrics; one of `states.CAUSES`, empty while the connection is open.
        blamed: side that caused the end.

    """

    __slots__ = (
        "_finished",
        "_gone",
        "_local_side",
        "_on_close",
        "_own_side",
        "_side",
        "_table",
        "_tunnel",
        "blamed",
        "cause",
        "connect_id",
        "destination",
        "dialing",
        "inbound",
        "opened_at",
        "origin",
        "outbound",
        "reason",
        "state",
    )

    def __init__(
        self,
        connect_id: int,
        tunnel: TunnelSide,
        table: Table,
        dialing: bool,
        credit: int | None,
        side: int,
        own_side: int,
        destination: str = "",
        origin: str = "",
    ) -> None:
        self.connect_id = connect_id
        self.dialing = dialing
        self.destination = destination
        self.origin = origin
        self.opened_at = tunnel.time()
        self.state = State.OPEN
        self.reason = ""
        self.cause = ""
        self.blamed = 0
        self.outbound = OutboundQueue(self, connect_id, tunnel, credit)
        self.inbound = InboundFlow(self, connect_id, tunnel, windowed=credit is not None)
        self._tunnel = tunnel
        self._table = table
        self._side = side
        self._own_side = own_side
        self._local_side: LocalSide = NOWHERE
        self._gone = False  # the local side ended its output and takes no more input
        self._finished = False
        self._on_close: tuple[Callable[[Connection], object], ...] = ()

    @property
    def closed(self) -> bool:
        """Return whether the connection is over."""
        return self.state is State.CLOSED

    def attach(self, local_side: LocalSide) -> None:
        """Join the connection to its local side."""
        self._local_side = local_side
        self.outbound.attach(local_side)
        self.inbound.attach(local_side)

    def call_when_closed(self, callback: Callable[[Connection], object]) -> None:
        """Call `callback` once, when the connection is over; callbacks are called in the order of this call."""
        self._on_close += (callback,)

    def progress(self) -> tuple[int, int]:
        """Return the byte counts that change while the connection makes progress."""
        return self.outbound.sent, 0 if self._gone else self.inbound.received

    # ---- from the local side --------------------------------------------------------------------------------------

    def local_end(self) -> None:
        """End the outbound direction: the local side ended its output (FIN); it may still take input."""
        if not self.outbound.ended and self.state is not State.CLOSED:
            self.outbound.end()

    def local_gone(self, reason: str = "closed by the local side") -> None:
        """End both directions: the local side ended its output and takes no more input (a full, clean close)."""
        if self._gone or self.state is State.CLOSED:
            return
        self._leave(reason)
        self._step(Input.LOCAL_GONE)
        if self.outbound.queued and not self.closed:
            self._tunnel.expire(self, UNREAD_TIMEOUT_S)
        self.local_end()

    def local_lost(self, reason: str) -> None:
        """End both directions: the local side is gone, with an error unless its output was complete."""
        if self._gone or self.state is State.CLOSED:
            return
        if self.outbound.ended:
            self.local_gone(reason)
            return
        self._leave(reason)
        self._step(Input.LOCAL_LOST)

    def _leave(self, reason: str) -> None:
        self._gone = True
        self.reason = self.reason or reason
        self.inbound.discard()

    # ---- from the tunnel ------------------------------------------------------------------------------------------

    def peer_end(self, total: int) -> None:
        """Handle DATA_END; `total` is the number of bytes that the peer sent."""
        received = self.inbound.received
        if total != received:
            self.violated(f"{total - received} bytes of {total} are missing at the end of data")
            return
        self._step(Input.PEER_END)

    def peer_stop(self, reason: str) -> None:
        """Handle STOP: the peer takes no more data."""
        self.reason = self.reason or reason
        self._step(Input.PEER_STOP)

    def peer_close(self, error: str) -> None:
        """Handle CLOSE_REQ or CLOSE_RSP (reference protocol)."""
        self.reason = self.reason or error or "closed by the peer"
        self._step(Input.PEER_RESET if error else Input.PEER_CLOSE)

    def peer_reset(self, reason: str, side: int = 0) -> None:
        """Handle RESET; `side` is the side that caused it, as the peer says."""
        self.reason = reason or "reset by the peer"
        self.blamed = side
        self._step(Input.PEER_RESET)

    def tunnel_lost(self, reason: str) -> None:
        """End the connection: its tunnel is gone."""
        self.reason = f"tunnel lost: {reason}"
        self._step(Input.TUNNEL_LOST)

    def expired(self, reason: str = "timed out while closing", cause: str = "") -> None:
        """End the connection: a limit of this side was reached. `cause` is the value for metrics."""
        self.cause = cause
        self.reason = self.reason if self._gone and self.reason else reason
        self._step(Input.EXPIRED)

    # ---- DirectionOwner -------------------------------------------------------------------------------------------

    def violated(self, reason: str) -> None:
        """End this connection, and only this one: the peer broke its rules."""
        self.reason = f"protocol violation: {reason}"
        self._step(Input.VIOLATION)

    def flushed(self) -> None:
        """Tell the peer that the outbound direction is complete."""
        self._step(Input.LOCAL_END)

    # ---- transitions ----------------------------------------------------------------------------------------------

    def _step(self, event: Input) -> None:
        """Make the transition of `event`. An input without a row breaks the dialect's rules."""
        if self.state is State.CLOSED:
            return
        row = self._table.get((self.state, event))
        if row is None:
            self.violated(f"{event.value} while {self.state.value}")
            return
        self.state, actions = row
        self.blamed = self.blamed or self._caused_by(event)
        for action in actions:
            _METHODS[action](self)
        if self.state is State.CLOSED and not self._finished:  # an action may have led here already
            self._finish(event)

    def _finish(self, event: Input) -> None:
        self._finished = True
        self.cause = self.cause or cause_of(event)
        self.outbound.close()
        self.inbound.close()
        callbacks, self._on_close = self._on_close, ()
        for callback in callbacks:
            callback(self)
        self._local_side = NOWHERE  # the local side refers to this object: break the cycle

    def _caused_by(self, event: Input) -> int:
        """Return the side that ends the connection with `event`; of two sides that end it, the first one counts."""
        if event in (Input.LOCAL_END, Input.LOCAL_GONE, Input.LOCAL_LOST):
            return self._side
        if event in (Input.TUNNEL_LOST, Input.EXPIRED):
            return self._own_side
        return sides.TARGET if self.dialing else sides.CLIENT

    def _send_end(self) -> None:
        self._tunnel.send_control(wire.data_end(self.connect_id, self.outbound.sent))
        if self._gone:
            self._tunnel.expire(self, END_TIMEOUT_S)

    def _send_stop(self) -> None:
        self._tunnel.send_control(wire.stop(self.connect_id, self.reason))
        self._tunnel.expire(self, END_TIMEOUT_S)

    def _send_reset(self) -> None:
        if self._table is EXTENDED:
            side = self._side if self._gone else self._own_side
            sent, passed_on = self.outbound.sent, self.inbound.passed_on
            self._tunnel.send_control(wire.reset(self.connect_id, side, self.reason, sent, passed_on))
        else:
            self._send_close(self.reason)

    def _send_close(self, error: str = "") -> None:
        if self.dialing:
            self._tunnel.send_control(wire.close_req(self.connect_id))
        else:
            self._tunnel.send_control(wire.close_rsp(self.connect_id, error))

    def _await_answer(self) -> None:
        self._tunnel.expire(self, CLOSE_GRACE_S if self._gone else HALF_CLOSED_TIMEOUT_S)

    def _await_close(self) -> None:
        self._tunnel.expire(self, CLOSE_TIMEOUT_S)

    def _drop_queue(self) -> None:
        if self.state is not State.CLOSED:  # otherwise the data is dropped when the connection closes
            self.outbound.stop()

    def _end_local(self) -> None:
        self.inbound.end()
        self._local_side.write_eof()

    def _close_local(self) -> None:
        self._local_side.close()

    def _abort_local(self) -> None:
        self._local_side.abort(self.reason)


_METHODS: dict[Action, Callable[[Connection], None]] = {action: getattr(Connection, action.value) for action in Action}
