"""Events that `Http2Connection.receive` returns: plain records without behaviour. A `stream_id` is never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HeaderList = list[tuple[str, str]]


@dataclass(slots=True)
class HeadersReceived:
    """Header block of a request or of its trailers (server role), of a response or of its trailers (client role)."""

    stream_id: int
    headers: HeaderList
    end_stream: bool
    trailers: bool


@dataclass(slots=True)
class DataReceived:
    """Piece of a DATA frame, as soon as it has arrived.

    Attributes:
        data: view into the bytes that were given to `receive`.
        credit: bytes to give to `Http2Connection.acknowledge` once the piece is consumed (payload and padding).

    """

    stream_id: int
    data: Any  # a memoryview, which mypyc cannot load as the type of a field
    credit: int
    end_stream: bool


@dataclass(slots=True)
class StreamEnded:
    """End of a stream by RST_STREAM: from the peer (`by_peer`), or from this side for a fault of the peer."""

    stream_id: int
    code: int
    message: str
    by_peer: bool


@dataclass(slots=True)
class StreamDrained:
    """End of a stream's queue: all its data was sent, and it may send more."""

    stream_id: int


@dataclass(slots=True)
class SettingsChanged:
    """SETTINGS of the peer, which are in effect."""


@dataclass(slots=True)
class PingAcknowledged:
    """Acknowledgement of a PING."""

    payload: bytes


@dataclass(slots=True)
class GoAwayReceived:
    """GOAWAY of the peer, which processes no stream above `last_stream_id` (RFC 9113 section 6.8)."""

    last_stream_id: int
    code: int
    debug: str


@dataclass(slots=True)
class ConnectionFailed:
    """End of the connection for a fault of the peer: write `take()`, which has a GOAWAY, then close the socket."""

    code: int
    message: str


Event = (
    HeadersReceived
    | DataReceived
    | StreamEnded
    | StreamDrained
    | SettingsChanged
    | PingAcknowledged
    | GoAwayReceived
    | ConnectionFailed
)
