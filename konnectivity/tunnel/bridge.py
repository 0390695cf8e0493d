"""Two links back to back: each is the other's endpoint. The server's joint between a gRPC frontend and an agent."""

from __future__ import annotations

from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import Buffer


class Bridge:
    """Endpoint of one link, made of another link."""

    __slots__ = ("other",)

    def __init__(self, other: Connection) -> None:
        self.other = other

    def write(self, data: Buffer) -> bool:
        return self.other.local_data(data)

    def write_eof(self) -> None:
        self.other.local_end()

    def close(self) -> None:
        self.other.local_gone()

    def abort(self, reason: str) -> None:
        self.other.local_lost(reason)

    def buffered(self) -> int:
        return self.other.queued

    def watch(self, left: int) -> None:
        """Nothing to do: what leaves the other link is counted whenever more arrives."""

    def pause(self) -> None:
        """Nothing to do: `write` said False, so the other link returns no credit until `resume`."""

    def resume(self) -> None:
        self.other.local_drained()
