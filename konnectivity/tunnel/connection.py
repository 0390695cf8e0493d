"""State machine of ONE proxied connection, as one end of a tunnel sees it. Pure: no sockets, no clock, no event loop.

A link stands between two things, both injected: its **endpoint** (the local side: a client's or target's socket, or
the link of another tunnel) and its **tunnel** (the far side). It owns the two directions in between:

    outbound   endpoint -> tunnel: bytes that wait for credit or for the shared line, and how much was sent
    inbound    tunnel -> endpoint: the credit we granted, and how much was received

What it does on which input is in the tables of `transitions`, one for each dialect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from konnectivity import wire
from konnectivity.tunnel import sides
from konnectivity.tunnel.interfaces import NOWHERE, Buffer, LocalSide, TunnelSide
from konnectivity.tunnel.states import EXTENDED, Input, State, Table

UNLIMITED = 1 << 62
PAYLOAD = 64 * 1024  # bytes of one DATA packet to a peer that negotiated the extension
ESTABLISHED_PAYLOAD = 32 * 1024  # and to any other: the most its own kind sends
FLUSH_TIMEOUT_S = 30.0  # without progress, while a closed connection still has bytes to hand over
HALF_CLOSED_TIMEOUT_S = 60.0  # established wire: how long an answer may take after the client ended its side
CLOSE_GRACE_S = 1.0  # established wire: CLOSE_REQ discards what the peer still has queued, so let it settle
CLOSE_TIMEOUT_S = 10.0  # established wire: CLOSE_REQ without CLOSE_RSP

_CAUSES = {
    Input.PEER_RESET: "reset",
    Input.LOCAL_LOST: "reset",
    Input.TUNNEL_LOST: "tunnel_lost",
    Input.VIOLATION: "violation",
    Input.EXPIRED: "timeout",
}
CAUSES = ("end", *dict.fromkeys(_CAUSES.values()), "budget")  # the values of `Link.cause`


class Connection:
    """One connection at one end of one tunnel.

    Args:
        connect_id: the connection's number on this tunnel.
        line: the tunnel.
        table: the dialect spoken on it.
        dialing: whether this end dialled (it decides the packet that closes, on the established wire).
        credit: bytes per direction the peer grants at first; None: the peer knows no credit.
        side, own_side: `ResetSide` of what is behind the endpoint, and of this program.

    """

    __slots__ = (
        "backlog",
        "blamed",
        "blocked",
        "cause",
        "connect_id",
        "credit",
        "destination",
        "dialing",
        "discarding",
        "endpoint",
        "finished",
        "gone",
        "granted",
        "line",
        "local_ended",
        "on_close",
        "opened_at",
        "origin",
        "own_side",
        "passed",
        "paused",
        "payload",
        "queue",
        "queued",
        "reason",
        "received",
        "rested_at",
        "returned_at",
        "scheduled",
        "seen",
        "sent",
        "side",
        "stalled_at",
        "starved",
        "starved_at",
        "state",
        "step",
        "stopped",
        "table",
        "unreturned",
        "window",
    )

    def __init__(
        self,
        connect_id: int,
        line: TunnelSide,
        table: Table,
        dialing: bool,
        credit: int | None,
        side: int,
        own_side: int,
    ) -> None:
        self.connect_id = connect_id
        self.line = line
        self.table = table
        self.dialing = dialing
        self.side = side
        self.own_side = own_side
        self.endpoint: LocalSide = NOWHERE
        self.state = State.OPEN
        self.finished = False
        self.reason = ""
        self.cause = ""  # the kind of reason, once it is closed: for counting
        self.blamed = 0  # `ResetSide` of who caused the end
        self.on_close: Callable[[Connection], object] | None = None  # called once, at the very end
        self.origin = ""  # for the log: who asked
        self.destination = ""
        self.opened_at = 0.0  # this and the two below are kept by the line
        self.stalled_at = 0.0
        self.starved_at = 0.0
        # outbound
        self.credit = UNLIMITED if credit is None else credit
        self.payload = ESTABLISHED_PAYLOAD if credit is None else PAYLOAD
        self.queue: deque[Buffer] = deque()
        self.queued = 0
        self.sent = 0
        self.scheduled = False  # waits for its turn on the line
        self.paused = False  # the endpoint is told not to read
        self.local_ended = False
        self.stopped = False  # the peer takes no more: what the endpoint still says is dropped
        self.starved = False  # has bytes to send and no credit
        # inbound
        self.window = 0 if credit is None else line.ledger.initial_window
        self.granted = UNLIMITED if credit is None else self.window
        self.received = 0
        self.unreturned = 0
        self.step = self.window // 2  # credit goes back in portions of at least this
        self.backlog = 0  # received while the endpoint was blocked
        self.blocked = False
        self.discarding = False  # the endpoint takes no more: what the peer still sends is dropped
        self.gone = False
        # kept by the line's `Windows`, as is the window
        self.passed = 0  # returned since the window was last looked at
        self.returned_at = 0.0
        self.seen = 0  # `received`, when the line last looked who receives
        self.rested_at = 0.0

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    # ---- from the endpoint ----------------------------------------------------------------------------------------

    def local_data(self, data: Buffer) -> bool:
        """Send data of the endpoint. False if it had to wait: the endpoint is paused until it went out."""
        if self.stopped or self.local_ended or self.state is State.CLOSED:
            return True
        size = len(data)
        line = self.line
        if size <= self.payload and size < self.credit and not self.queue and not line.congested:
            self.credit -= size
            self.sent += size
            line.send_data(self.connect_id, data)
            return True
        self.queue.append(data)
        self.queued += size
        line.book(size)
        if not self.paused:
            self.paused = True
            self.endpoint.pause()
        if self.credit:
            if not self.scheduled:
                line.activate(self)
        elif not self.starved:
            self._starve()
        return not self.queued

    def local_end(self) -> None:
        """The endpoint ended its output (FIN); it may still take input."""
        if not self.local_ended and self.state is not State.CLOSED:
            self.local_ended = True
            if not self.queue and not self.stopped:
                self._step(Input.LOCAL_END)

    def local_gone(self, reason: str = "closed by the local side") -> None:
        """The endpoint ended its output and takes no more input (a full, clean close)."""
        if self.gone or self.state is State.CLOSED:
            return
        self.gone = self.discarding = True
        self.reason = self.reason or reason
        self._forget_backlog()
        self._step(Input.LOCAL_GONE)
        if self.queue and not self.closed:
            self.line.expire(self, FLUSH_TIMEOUT_S)
        self.local_end()

    def local_lost(self, reason: str) -> None:
        """The endpoint is gone, with an error unless its output was complete."""
        if self.gone or self.state is State.CLOSED:
            return
        if self.local_ended:
            self.local_gone(reason)
            return
        self.gone = self.discarding = True
        self.reason = self.reason or reason
        self._forget_backlog()
        self._step(Input.LOCAL_LOST)

    def local_drained(self) -> None:
        """Everything given to the endpoint has left it."""
        if self.blocked:
            self._unblock()
            self._forget_backlog()
            if self.state is not State.CLOSED:
                self._return_credit()

    def local_progress(self) -> None:
        """Some of it has left."""
        if self.blocked and not self.discarding:
            self._relieve()

    def relieved(self) -> bool:
        """Whether a blocked endpoint has come well below the connection's budget again."""
        self._recount()
        return self.backlog <= self.line.ledger.connection_budget * 3 // 4

    # ---- from the tunnel ------------------------------------------------------------------------------------------

    def peer_data(self, data: memoryview) -> None:
        """DATA arrived."""
        size = len(data)
        self.granted -= size
        if self.granted < 0 or self.state is State.RCVD_END:
            self.violated("more DATA than was granted" if self.granted < 0 else "DATA after the end of data")
            return
        self.received += size
        if self.discarding:
            return
        if not self.endpoint.write(data) and not self.blocked:
            self.blocked = True
            self.line.stall(self, True)
        if self.blocked:
            self.unreturned += size
            self.backlog += size
            self.line.book(size)
            if self.window:
                if self.unreturned >= self.step:
                    self._relieve()
            elif self.backlog > self.line.ledger.connection_budget:
                self.line.hold(self)
        elif self.window:
            self.unreturned += size
            if self.unreturned >= self.step:
                self._return_credit()

    def peer_credit(self, size: int) -> None:
        """CREDIT arrived."""
        if size <= 0 or self.credit + size > UNLIMITED:
            self.violated(f"credit of {size} bytes")
            return
        self.credit += size
        if self.starved:
            self._feed()
        if self.queue:
            if not self.scheduled:
                self.line.activate(self)
        elif self.paused and self.state is not State.CLOSED:
            self._resume()

    def peer_end(self, total: int) -> None:
        """DATA_END arrived; `total` is what the peer counted."""
        if total != self.received:
            self.violated(f"{total - self.received} bytes of {total} are missing at the end of data")
            return
        self._step(Input.PEER_END)

    def peer_stop(self, reason: str) -> None:
        """STOP arrived: the peer takes no more from us."""
        self.reason = self.reason or reason
        self._step(Input.PEER_STOP)

    def peer_close(self, error: str) -> None:
        """CLOSE_REQ or CLOSE_RSP arrived (established wire)."""
        self.reason = self.reason or error or "closed by the peer"
        self._step(Input.PEER_RESET if error else Input.PEER_CLOSE)

    def peer_reset(self, reason: str, side: int = 0) -> None:
        """RESET arrived; `side` is who caused it, as the peer says."""
        self.reason = reason or "reset by the peer"
        self.blamed = side
        self._step(Input.PEER_RESET)

    def tunnel_lost(self, reason: str) -> None:
        self.reason = f"tunnel lost: {reason}"
        self._step(Input.TUNNEL_LOST)

    def violated(self, reason: str) -> None:
        """The peer broke the rules of this connection: end it, and only it."""
        self.reason = f"protocol violation: {reason}"
        self._step(Input.VIOLATION)

    def expired(self, reason: str = "timed out while closing") -> None:
        self.reason = self.reason if self.gone and self.reason else reason
        self._step(Input.EXPIRED)

    def take_turn(self, quantum: int) -> bool:
        """Send up to `quantum` queued bytes, as credit allows. True if there is more to send and credit for it."""
        queue = self.queue
        while queue and quantum > 0 and self.credit > 0:
            data = queue[0]
            size = min(len(data), quantum, self.credit, self.payload)
            if size == len(data):
                queue.popleft()
            else:
                view = memoryview(data)
                data, queue[0] = view[:size], view[size:]
            self.credit -= size
            self.sent += size
            self.queued -= size
            quantum -= size
            self.line.book(-size)
            self.line.send_data(self.connect_id, data)
        if not queue:
            if self.local_ended:
                if not self.stopped:
                    self._step(Input.LOCAL_END)
            elif self.paused and self.credit > 0:
                self._resume()
            elif self.paused and not self.starved:
                self._starve()
            return False
        if self.credit > 0:
            return True
        if not self.starved:
            self._starve()
        return False

    # ---- transitions ----------------------------------------------------------------------------------------------

    def _step(self, event: Input) -> None:
        """Look the transition up and carry it out. An input without a row breaks the dialect's rules."""
        if self.state is State.CLOSED:
            return
        row = self.table.get((self.state, event))
        if row is None:
            self.violated(f"{event.value} while {self.state.value}")
            return
        self.state, actions = row
        self.blamed = self.blamed or self._caused_by(event)
        for action in actions:
            getattr(self, action.value)()
        if self.state is State.CLOSED and not self.finished:  # an action may have led here already
            self.finished = True
            self.cause = self.cause or _CAUSES.get(event, "end")
            self._drop_queue()
            self._forget_backlog()
            if self.blocked:
                self._unblock()
            if self.starved:
                self._feed()
            self.line.windows.closed(self)
            self.line.connection_closed(self)
            self.endpoint, self.on_close = NOWHERE, None  # who refer to us: nothing is left to the garbage collector

    def _caused_by(self, event: Input) -> int:
        """Who ends the connection with this event; of two sides that end it, the first one counts."""
        if event in (Input.LOCAL_END, Input.LOCAL_GONE, Input.LOCAL_LOST):
            return self.side
        if event in (Input.TUNNEL_LOST, Input.EXPIRED):
            return self.own_side
        return sides.TARGET if self.dialing else sides.CLIENT

    def _send_end(self) -> None:
        self.line.send_control(wire.data_end(self.connect_id, self.sent))
        if self.gone:
            self.line.expire(self, FLUSH_TIMEOUT_S)

    def _send_stop(self) -> None:
        self.line.send_control(wire.stop(self.connect_id, self.reason))
        self.line.expire(self, FLUSH_TIMEOUT_S)

    def _send_reset(self) -> None:
        if self.table is EXTENDED:
            side = self.side if self.gone else self.own_side
            passed_on = self.received - self.backlog
            self.line.send_control(wire.reset(self.connect_id, side, self.reason, self.sent, passed_on))
        else:
            self._send_close(self.reason)

    def _send_close(self, error: str = "") -> None:
        if self.dialing:
            self.line.send_control(wire.close_req(self.connect_id))
        else:
            self.line.send_control(wire.close_rsp(self.connect_id, error))

    def _await_answer(self) -> None:
        self.line.expire(self, CLOSE_GRACE_S if self.gone else HALF_CLOSED_TIMEOUT_S)

    def _await_close(self) -> None:
        self.line.expire(self, CLOSE_TIMEOUT_S)

    def _drop_queue(self) -> None:
        self.stopped = True
        self.line.book(-self.queued)
        self.queued = 0
        self.queue.clear()
        if self.paused and self.state is not State.CLOSED:
            self._resume()  # its output is read and dropped, so that it can go on reading its input

    def _end_local(self) -> None:
        self.endpoint.write_eof()

    def _close_local(self) -> None:
        self.endpoint.close()

    def _abort_local(self) -> None:
        self.endpoint.abort(self.reason)

    # ---- credit ---------------------------------------------------------------------------------------------------

    def _return_credit(self) -> None:
        """Grant again what has left for the endpoint."""
        if not self.window:
            self.unreturned = 0
            self.line.unhold(self)
            return
        size = self.unreturned - self.backlog
        if size < self.step or self.state is State.RCVD_END:
            return
        self.unreturned = self.backlog
        size = self.line.windows.granted_again(self, size)
        if size:
            self.granted += size
            self.line.send_control(wire.credit(self.connect_id, size))

    def _relieve(self) -> None:
        """Grant what has left a blocked endpoint without waiting for the rest: the sender may be far away."""
        self._recount()
        self._return_credit()
        if self.backlog > self.step:
            self.endpoint.watch(self.backlog - self.step)

    def _recount(self) -> None:
        left = min(self.backlog, self.endpoint.buffered())
        self.line.book(left - self.backlog)
        self.backlog = left

    def _forget_backlog(self) -> None:
        self.line.book(-self.backlog)
        self.backlog = 0

    def _resume(self) -> None:
        self.paused = False
        self.endpoint.resume()

    def _unblock(self) -> None:
        self.blocked = False
        self.line.stall(self, False)

    def _starve(self) -> None:
        self.starved = True
        self.line.starve(self, True)

    def _feed(self) -> None:
        self.starved = False
        self.line.starve(self, False)
