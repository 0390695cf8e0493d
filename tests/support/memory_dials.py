"""Dials and local sides in memory that record their calls for a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from konnectivity.errors import DialError
from konnectivity.tunnel.connection import Connection


@dataclass(eq=False)
class MemorySocket:
    """Local side of a connection that accepts everything unless it is full."""

    connection: Connection | None = None
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    closed: bool = False
    aborted: str = ""  # the reason
    full: bool = False  # the socket buffers its data
    waiting: int = 0  # bytes that are buffered
    paused: bool = False

    def write(self, data: bytes | memoryview) -> bool:
        self.received += data
        self.waiting += len(data) if self.full else 0
        return not self.full

    def drain(self) -> None:
        """Accept everything again, including buffered bytes."""
        assert self.connection is not None
        self.full, self.waiting = False, 0
        self.connection.inbound.local_drained()

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self, reason: str) -> None:
        self.aborted = reason

    def buffered(self) -> int:
        return self.waiting

    def watch(self, left: int) -> None:
        return

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


@dataclass(eq=False)
class MemoryDial:
    """Dial that records its outcome: a connection with a memory socket, or the errors."""

    address: str = "target:80"
    protocol: str = "tcp"
    origin: str = "127.0.0.1:1"
    is_probe: bool = False
    wanted: bool = True  # whether the dial accepts a connection
    attach: Callable[[Connection], object] | None = None  # instead of a memory socket
    connection: Connection | None = None
    socket: MemorySocket = field(default_factory=MemorySocket)
    errors: list[DialError] = field(default_factory=list)

    def dial_succeeded(self, connection: Connection) -> bool:
        assert self.connection is None, "a second outcome"
        self.connection = connection
        if not self.wanted:
            return False
        if self.attach is not None:
            self.attach(connection)
        else:
            self.socket.connection = connection
            connection.attach(self.socket)
        return True

    def dial_failed(self, error: DialError) -> None:
        assert self.connection is None, "a second outcome"
        assert not self.errors, "a second outcome"
        self.errors.append(error)

    @property
    def error(self) -> DialError:
        """Return the error of a dial that failed."""
        (error,) = self.errors
        return error
