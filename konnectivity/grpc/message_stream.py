"""Interface of one gRPC call: a bidirectional stream of opaque messages.

Two implementations have it: `http2_call` (native) and `grpcio_stream`. Code above the transport knows this interface,
and `transport` for connections.
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
    """Process at the other end of a unix socket, according to the kernel."""

    pid: int  # 0: a process of another PID namespace
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Other end of a connection: a printable address, and the identity that TLS, the kernel or a secret vouches for."""

    address: str
    certificate: dict[str, Any] | None = None  # as `ssl.SSLSocket.getpeercert` returns it
    process: PeerProcess | None = None
    token_sha256: bytes = b""  # digest of the token that it showed; empty: none
    user: str = ""  # whose password it gave; empty: none
    frontend: str = ""  # kind of the frontend, where it is no frontend of kube-apiserver

    @property
    def common_name(self) -> str:
        """Common name in the certificate; empty if there is none."""
        for part in (self.certificate or {}).get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return str(value)
        return ""

    @property
    def source(self) -> str:
        """Address without its port, which all connections of one peer have in common."""
        return self.address.rpartition(":")[0] or self.address

    @property
    def name(self) -> str:
        """Text for people: the kind of frontend, the address, and the common name in the certificate or the user."""
        where = f"{self.frontend}/{self.address}" if self.frontend else self.address
        who = self.user or (self.common_name if self.certificate is not None else "")
        return f"{who}@{where}" if who else where


class StreamReceiver(Protocol):
    """Owner of a stream. Called from the event loop; of its methods only `pause_writing` is called inside `send`."""

    __slots__ = ()

    def call_accepted(self, metadata: Metadata) -> None:
        """Client: take the server's response headers, before any message."""
        return

    def message_received(self, message: memoryview) -> None:
        """Take one whole message. The view stays valid for as long as it is kept."""

    def pause_writing(self) -> None:
        """Note that data should wait: a message was sent while the stream was congested."""
        return

    def resume_writing(self) -> None:
        """Send data again: the stream is no longer congested. Called once after each `pause_writing`."""
        return

    def stream_closed(self, status: Status) -> None:
        """Note the end of the stream, with its status. No other method is called after this one."""


class MessageStream(ABC):
    """Either side of one call. After `stream_closed` every method does nothing."""

    __slots__ = tuple[str, ...]()  # derived classes have the attributes below; not as a literal, which mypy would check

    peer: Peer
    metadata: Metadata  # request headers on the server, response headers on the client
    path: str
    receiver: StreamReceiver | None  # may be replaced while the stream is open

    @property
    def round_trip_s(self) -> float | None:
        """Last measured round trip in seconds; None if the transport has not measured it."""
        return None

    @property
    def least_round_trip_s(self) -> float | None:
        """Round trip in seconds when nothing is queued; None if the transport has not measured it."""
        return None

    @property
    def heard_at(self) -> float | None:
        """Time of the last bytes from the peer, on the monotonic clock; None if the transport cannot tell."""
        return None

    def measure(self, done: Callable[[float], object] | None = None) -> None:
        """Measure the round trip, if the transport can: `done` is called with it, in seconds."""
        return

    async def accepted(self) -> Metadata:
        """Wait until the server accepts the call, and return its headers (on the server: those of the request).

        Raises:
            RpcError: the call was refused, or the connection was lost.

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
        """Return no window, so that the peer stops when it has used it up. Messages already here are delivered."""

    @abstractmethod
    def release(self) -> None:
        """Undo `hold`."""

    @abstractmethod
    def widen(self, size: int) -> None:
        """Enlarge the window of the peer by `size` bytes."""

    @abstractmethod
    def finish(self, status: Status = OK) -> None:
        """Server: end the call with a status, behind all messages sent. Client: end this side of the call."""

    @abstractmethod
    def abort(self, message: str = "") -> None:
        """End the stream now, and drop messages that are not sent yet. `stream_closed` follows."""


Service = Callable[[MessageStream], StreamReceiver]
"""Called for each call of a path; may raise `RpcError` to refuse it."""
