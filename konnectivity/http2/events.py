"""What `Http2Connection.receive` returns. Plain slotted records; `stream_id` 0 never occurs."""

from __future__ import annotations

from dataclasses import dataclass

HeaderList = list[tuple[str, str]]


@dataclass(slots=True)
class HeadersReceived:
    """A request (server role), a response or its trailers (client role), or request trailers."""

    stream_id: int
    headers: HeaderList
    end_stream: bool
    trailers: bool


@dataclass(slots=True)
class DataReceived:
    """A piece of a DATA frame, as soon as it is here: `data` is a view into what was given to `receive`.

    `credit` is what to give to `Http2Connection.acknowledge` once the bytes are consumed (payload and padding).
    """

    stream_id: int
    data: memoryview
    credit: int
    end_stream: bool


@dataclass(slots=True)
class StreamEnded:
    """The stream is over without (the rest of) its END_STREAM: reset by the peer, or by us for the peer's fault."""

    stream_id: int
    code: int
    message: str
    by_peer: bool


@dataclass(slots=True)
class StreamDrained:
    """All queued data of the stream went out; it may send more."""

    stream_id: int


@dataclass(slots=True)
class SettingsChanged:
    """The peer's SETTINGS took effect."""


@dataclass(slots=True)
class PingAcknowledged:
    payload: bytes


@dataclass(slots=True)
class GoAwayReceived:
    """Streams above `last_stream_id` were not and will not be processed by the peer (RFC 9113 section 6.8)."""

    last_stream_id: int
    code: int
    debug: str


@dataclass(slots=True)
class ConnectionFailed:
    """The peer broke the protocol: GOAWAY is in `take()`; write it, then close."""

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
