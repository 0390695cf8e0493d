"""The tunnel side of a link, as the link sees it: the line that all connections of one tunnel share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.local_side import Buffer
from konnectivity.tunnel.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from konnectivity.tunnel.connection import Connection


class TunnelSide(Protocol):
    """What a link asks of its tunnel."""

    ledger: MemoryBudget
    windows: FlowControl

    @property
    def congested(self) -> bool: ...

    @property
    def round_trip_s(self) -> float:
        """Of the empty line, in seconds, as far as it is known."""

    def send_data(self, connect_id: int, data: Buffer) -> None: ...

    def send_control(self, packet: bytes) -> None: ...

    def book(self, size: int) -> None:
        """So many bytes more (or less) wait here."""

    def activate(self, link: Connection) -> None:
        """The link has bytes it may send: give it its turns."""

    def hold(self, link: Connection) -> None:
        """The link, of a peer without credit, is over its budget."""

    def unhold(self, link: Connection) -> None: ...

    def stall(self, link: Connection, begins: bool) -> None:
        """The endpoint takes nothing more, or has taken everything."""

    def starve(self, link: Connection, begins: bool) -> None:
        """There is no credit for what the endpoint says, or credit came."""

    def expire(self, link: Connection, timeout_s: float) -> None:
        """Call `Link.expired` after this time without progress."""

    def closed_link(self, link: Connection) -> None:
        """The link is over: forget it."""
