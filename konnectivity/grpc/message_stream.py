"""The seam between the transport and everything above it: a bidirectional stream of opaque messages.

Two implementations: `native` (our HTTP/2) and `alternative` (grpcio). Code above knows only this module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import OK, Status

Buffer = bytes | memoryview


class PeerProcess(NamedTuple):
    """Who connected a unix socket, as the kernel has it."""

    pid: int  # 0: of another PID namespace
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: a printable address, and what the TLS layer or the kernel vouch for, if anything."""

    address: str
    certificate: dict[str, Any] | None = None  # as `ssl.SSLSocket.getpeercert` has it
    process: PeerProcess | None = None

    @property
    def common_name(self) -> str:
        """Of the certificate; empty if there is none."""
        for part in (self.certificate or {}).get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        return ""

    @property
    def source(self) -> str:
        """Return the address without its port: connections that one peer makes have it in common."""
        return self.address.rpartition(":")[0] or self.address

    @property
    def name(self) -> str:
        """For people: the address, and the common name that the certificate gives."""
        return f"{self.common_name}@{self.address}" if self.common_name else self.address


class StreamReceiver(Protocol):
    """Owner of a stream. Called from the event loop; of its methods only `pause_writing` is called inside `send`."""

    def call_accepted(self, metadata: Metadata) -> None:
        """Client: the server's response headers, before any message."""
        return

    def message_received(self, message: memoryview) -> None:
        """One whole message. The view is valid for as long as it is kept."""

    def pause_writing(self) -> None:
        """Note that data should wait: a message was sent while the stream was congested."""
        return

    def resume_writing(self) -> None:
        """Send data again: the stream is no longer congested. Called once after each `pause_writing`."""
        return

    def stream_closed(self, status: Status) -> None:
        """The last call: the stream is over, for whatever reason."""


class MessageStream(ABC):
    """One call, either side. After `stream_closed` every method is a no-op."""

    peer: Peer
    metadata: Metadata  # on the server the request's, on the client the response's
    path: str
    receiver: StreamReceiver | None  # who gets what arrives; may be replaced while the stream is open

    @property
    def round_trip_s(self) -> float | None:
        """The last measured round trip, in seconds, if the transport can measure it."""
        return None

    @property
    def least_round_trip_s(self) -> float | None:
        """The round trip of the line when nothing is queued on it, if the transport can measure it."""
        return None

    @property
    def heard_at(self) -> float | None:
        """When anything of the peer arrived last, on the monotonic clock; None if the transport cannot tell."""
        return None

    def measure(self, done: Callable[[float], object] | None = None) -> None:
        """Measure the round trip, if the transport can: `done` is called with it, in seconds."""
        return

    async def accepted(self) -> Metadata:
        """Client: the response headers, once the server accepted the call. (On the server: the request's, at once.)

        Raises:
            RpcError: it was refused, or the connection was lost.

        """
        return self.metadata

    @abstractmethod
    def accept(self, metadata: dict[str, str]) -> None:
        """Server: send the response headers. Once, before the first `send`."""

    @abstractmethod
    def send(self, head: bytes, body: Buffer = b"") -> None:
        """Send one message, given in two parts so that the payload needs no copy. `body` must not change later.

        A message sent while the stream is congested is kept, and the receiver's `pause_writing` is called.
        """

    @abstractmethod
    def hold(self) -> None:
        """Stop returning window: the peer stops after what it may still send. Messages already here are delivered."""

    @abstractmethod
    def release(self) -> None:
        """Undo `hold`."""

    @abstractmethod
    def widen(self, size: int) -> None:
        """Let the peer have `size` bytes more under way than at first."""

    @abstractmethod
    def finish(self, status: Status = OK) -> None:
        """Server: end the call with a status, behind all messages sent. Client: no more messages from us."""

    @abstractmethod
    def abort(self, message: str = "") -> None:
        """End the stream now, dropping what was not sent. `stream_closed` follows."""


Service = Callable[[MessageStream], StreamReceiver]
"""Called for each call of a path; may raise `RpcError` to refuse it."""
