"""The two interfaces of a proxied connection: its local side and its tunnel side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from konnectivity.tunnel.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from konnectivity.tunnel.connection import Connection
    from konnectivity.tunnel.flow_control import FlowControl

Buffer = bytes | memoryview


class LocalSide(Protocol):
    """What a link asks of its local side."""

    def write(self, data: Buffer) -> bool:
        """Take data; False if it had to be buffered: `Link.local_drained` follows when the buffer is empty."""

    def write_eof(self) -> None:
        """No more data: end the local side's input behind everything written."""

    def close(self) -> None:
        """Hand over everything written, then close both directions."""

    def abort(self, reason: str) -> None:
        """Close at once, with an error if the local side can be shown one."""

    def buffered(self) -> int:
        """Bytes taken by `write` that have not left yet."""

    def watch(self, left: int) -> None:
        """`Link.local_progress` is wanted when no more than `left` bytes are buffered, if the endpoint can do that."""

    def pause(self) -> None:
        """Deliver no more data to the link."""

    def resume(self) -> None:
        """Undo `pause`."""


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

    def connection_closed(self, link: Connection) -> None:
        """The link is over: forget it."""


class _Nowhere:
    """Endpoint of a link that is not attached yet, or not any more."""

    def write(self, data: Buffer) -> bool:
        return True

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self, reason: str) -> None: ...

    def buffered(self) -> int:
        return 0

    def watch(self, left: int) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


NOWHERE: LocalSide = _Nowhere()
