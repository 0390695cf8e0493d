"""Inbound direction of one connection: from its tunnel to its local side. Pure."""

from __future__ import annotations

from konnectivity import wire
from konnectivity.tunnel.flow_control import Window
from konnectivity.tunnel.interfaces import NOBODY, NOWHERE, DirectionOwner, LocalSide, TunnelSide
from konnectivity.tunnel.outbound_queue import UNLIMITED


class InboundFlow:
    """Bytes received for the local side, and the credit granted for more. Knows nothing of connection states.

    Args:
        owner: the connection.
        connect_id: the connection's number on the tunnel.
        tunnel: the tunnel.
        windowed: whether the peer knows credit.

    Attributes:
        window: window of a peer that knows credit.
        received: bytes received.
        granted: bytes that the peer may still send.
        backlog: bytes received while the local side was blocked, as far as they have not left it.
        blocked: whether the local side takes nothing more.
        blocked_at: when it stopped taking more, on the tunnel's clock.

    """

    __slots__ = (
        "_connect_id",
        "_discarding",
        "_ended",
        "_local_side",
        "_owner",
        "_tunnel",
        "_unreturned",
        "backlog",
        "blocked",
        "blocked_at",
        "granted",
        "received",
        "window",
    )

    def __init__(self, owner: DirectionOwner, connect_id: int, tunnel: TunnelSide, windowed: bool) -> None:
        self.received = 0
        self.window: Window | None = tunnel.flow_control.open(self) if windowed else None
        self.granted = UNLIMITED if self.window is None else self.window.size
        self.backlog = 0
        self.blocked = False
        self.blocked_at = 0.0
        self._owner = owner
        self._connect_id = connect_id
        self._tunnel = tunnel
        self._local_side: LocalSide = NOWHERE
        self._unreturned = 0  # bytes received for which no credit was granted again
        self._ended = False  # the peer said that its data is complete
        self._discarding = False  # the local side takes no more: further data is dropped

    def attach(self, local_side: LocalSide) -> None:
        """Take the local side that data goes to."""
        self._local_side = local_side

    @property
    def passed_on(self) -> int:
        """Number of bytes that have left the local side."""
        return self.received - self.backlog

    @property
    def taken(self) -> int:
        """Number of bytes that the local side has taken from its own buffer."""
        return self.received - self._local_side.buffered()

    def receive(self, data: memoryview) -> None:
        """Pass data of the peer on to the local side."""
        size = len(data)
        self.granted -= size
        if self.granted < 0 or self._ended:
            self._owner.violated("more DATA than was granted" if self.granted < 0 else "DATA after the end of data")
            return
        self.received += size
        if self._discarding:
            return
        if not self._local_side.write(data) and not self.blocked:
            self._block()
        window = self.window
        if self.blocked:
            self._keep(size)
        elif window is not None:
            self._unreturned += size
            if self._unreturned >= window.step:
                self._return_credit()

    def _keep(self, size: int) -> None:
        """Count bytes that a blocked local side has not taken."""
        self._unreturned += size
        self.backlog += size
        memory = self._tunnel.memory
        memory.book_backlog(size)
        if self.window is not None:
            if self._unreturned >= self.window.step:
                self._relieve()
        elif self.backlog > memory.budget.connection_budget:
            self._tunnel.hold(self)
        if memory.budget.overdrawn:
            memory.budget.relieve()

    def end(self) -> None:
        """Note that the peer's data is complete."""
        self._ended = True

    def discard(self) -> None:
        """Drop further data: the local side takes no more."""
        self._discarding = True
        self._forget_backlog()

    def close(self) -> None:
        """Forget the local side and give the window back: the connection is over."""
        self._discarding = self._ended = True
        self._forget_backlog()
        if self.blocked:
            self._unblock()
        if self.window is not None:
            self.window.close()
            self.window = None  # the window refers to this object: break the cycle
        else:
            self._tunnel.unhold(self)
        self._local_side, self._owner = NOWHERE, NOBODY

    # ---- from the local side --------------------------------------------------------------------------------------

    def local_drained(self) -> None:
        """Grant credit again: everything given to the local side has left it."""
        if self.blocked:
            self._unblock()
            self._forget_backlog()
            self._return_credit()

    def local_progress(self) -> None:
        """Grant credit again for what has left the local side."""
        if self.blocked and not self._discarding:
            self._relieve()

    # ---- ReceivedBytes, of flow control ---------------------------------------------------------------------------

    @property
    def spent(self) -> bool:
        """Return whether the peer has used up its credit and waits for the blocked local side."""
        return self.blocked and self.granted <= 0 and self.window is not None

    def take_back(self) -> None:
        """Give back the growth of the window: its bytes wait here, and credit for them is withheld once they leave."""
        if self.window is not None:
            self.window.take_back()

    # ---- HeldFlow, StalledFlow --------------------------------------------------------------------------------------

    def relieved(self) -> bool:
        self._recount()
        return self.backlog <= self._tunnel.memory.budget.connection_budget * 3 // 4

    def over_budget(self, reason: str) -> None:
        self._owner.expired(reason, "budget")

    # ---- credit ---------------------------------------------------------------------------------------------------

    def _return_credit(self) -> None:
        """Grant credit again for what has left the local side."""
        window = self.window
        if window is None:
            self._unreturned = 0
            self._tunnel.unhold(self)
            return
        size = self._unreturned - self.backlog
        if size < window.step or self._ended:
            return
        self._unreturned = self.backlog
        size = window.credit_for(size)
        if size:
            self.granted += size
            self._tunnel.send_control(wire.credit(self._connect_id, size))

    def _relieve(self) -> None:
        """Grant credit for what has left a blocked local side without waiting for the rest: the sender may be far."""
        self._recount()
        self._return_credit()
        if self.window is not None and self.backlog > self.window.step:
            self._local_side.watch(self.backlog - self.window.step)

    def _recount(self) -> None:
        left = min(self.backlog, self._local_side.buffered())
        self._tunnel.memory.book_backlog(left - self.backlog)
        self.backlog = left

    def _forget_backlog(self) -> None:
        if self.backlog:
            self._tunnel.memory.book_backlog(-self.backlog)
            self.backlog = 0

    def _block(self) -> None:
        self.blocked = True
        self._tunnel.memory.budget.stall(self)
        self.blocked_at = self._tunnel.time()
        self._tunnel.traffic.stalled += 1

    def _unblock(self) -> None:
        self.blocked = False
        self._tunnel.memory.budget.stall_ended(self)
        traffic = self._tunnel.traffic
        traffic.stalled -= 1
        traffic.stall_seconds.observe(self._tunnel.time() - self.blocked_at)
