"""Peer of an HTTP/2 connection, driven by hand: it sends frames, and reads the answers of our end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import hpack
import pytest

from konnectivity.http2 import ErrorCode, Http2Connection, Settings, events, frames

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200")]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def cut(data: bytes) -> list[Frame]:
    result = []
    while data:
        size = int.from_bytes(data[:3])
        result.append(Frame(data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + size]))
        assert len(result[-1].payload) == size
        data = data[9 + size :]
    return result


class HandPeer:
    """Peer of `connection`, which is our end."""

    def __init__(
        self,
        client: bool,
        settings: Settings | None = None,
        said: dict[int, int] | None = None,
        greeted: bool = True,
        **options: Any,
    ) -> None:
        self.connection = Http2Connection(client, settings or Settings(enable_push=0 if client else 1), **options)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        if greeted:
            preface = b"" if client else frames.PREFACE
            self.says(preface, frames.settings(said or {}), frames.frame(frames.SETTINGS, frames.ACK, 0))
            self.connection.take()

    def says(self, *pieces: bytes) -> list[events.Event]:
        happened = self.connection.receive(b"".join(pieces))
        while self.connection.unread:
            happened += self.connection.receive(b"")
        return happened

    def bytes_heard(self) -> bytes:
        return b"".join(self.connection.take())

    def hears(self) -> list[Frame]:
        heard = self.bytes_heard()
        return cut(heard.removeprefix(frames.PREFACE))

    def hears_data(self) -> dict[int, bytes]:
        """Return DATA by stream, and check that no other frame arrived."""
        result: dict[int, bytes] = {}
        for frame in self.hears():
            assert frame.kind == frames.DATA
            result[frame.stream_id] = result.get(frame.stream_id, b"") + frame.payload
        return result

    def headers(
        self, stream_id: int, headers: Iterable[tuple[str | bytes, str | bytes]] = REQUEST, flags: int = 0
    ) -> bytes:
        """Return HEADERS in one frame."""
        return frames.frame(frames.HEADERS, flags | frames.END_HEADERS, stream_id, self.encoder.encode(list(headers)))

    def opens(self, *stream_ids: int) -> None:
        """Open streams as a client."""
        for stream_id in stream_ids:
            assert [type(event) for event in self.says(self.headers(stream_id))] == [events.HeadersReceived]

    def breaks_connection(self, *pieces: bytes) -> tuple[ErrorCode, str]:
        """Send bytes that our end must answer with GOAWAY; return the reason of the GOAWAY."""
        self.connection.take()
        failed = self.says(*pieces)[-1]
        assert isinstance(failed, events.ConnectionFailed)
        goaway = self.hears()[-1]
        assert goaway.kind == frames.GOAWAY
        assert int.from_bytes(goaway.payload[4:8]) == failed.code
        assert goaway.payload[8:].decode() == failed.message
        assert self.says(frames.frame(frames.PING, 0, 0, bytes(8))) == []
        assert not self.connection.output
        return ErrorCode(failed.code), failed.message

    def breaks_stream(self, stream_id: int, *pieces: bytes) -> tuple[ErrorCode, str]:
        """Send bytes that our end must answer with RST_STREAM; return the reason of the reset."""
        self.connection.take()
        ended = self.says(*pieces)[-1]
        assert isinstance(ended, events.StreamEnded)
        assert (ended.stream_id, ended.by_peer) == (stream_id, False)
        reset = self.hears()[-1]
        assert reset == Frame(frames.RST_STREAM, 0, stream_id, ended.code.to_bytes(4))
        assert stream_id not in self.connection.streams
        return ErrorCode(ended.code), ended.message


@pytest.fixture
def hand_peer() -> type[HandPeer]:
    return HandPeer


@pytest.fixture
def to_server() -> HandPeer:
    """Return a peer of our server after the preface and SETTINGS."""
    return HandPeer(client=False)


@pytest.fixture
def to_client() -> HandPeer:
    """Return a peer of our client after the preface and SETTINGS."""
    return HandPeer(client=True)
