"""Hostile peers: any bytes raise no exception, and our answers are well-formed."""

from __future__ import annotations

from collections.abc import Iterator

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from konnectivity.http2 import Http2Connection, Settings, events, frames
from konnectivity.http2.abuse_limits import Limits
from support.examples import examples

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
LIMITS = Limits(header_block_bytes=2000, header_list_bytes=1000, continuation_frames=4, cheap_frames_burst=400)


def new_connection(client: bool) -> Http2Connection:
    settings = Settings(enable_push=0 if client else 1, max_concurrent_streams=5)
    connection = Http2Connection(client, settings, connection_window=70_000, limits=LIMITS)
    if client:
        for _ in range(3):
            connection.open_stream(REQUEST)
    return connection


def answer(connection: Http2Connection, happened: list[events.Event]) -> None:
    """Answer events as an application would."""
    for event in happened:
        match event:
            case events.HeadersReceived() if not connection.client:
                connection.send_headers(event.stream_id, RESPONSE)
                stream = connection.streams.get(event.stream_id)
                if stream is not None:
                    connection.send_data(stream, bytes(5), bytes(50_000))
            case events.DataReceived():
                connection.acknowledge(event.stream_id, event.credit)
                connection.grow_window(event.stream_id, 100_000)
            case events.StreamDrained():
                connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)


def check_frames(line: bytes) -> None:
    while line:
        size = int.from_bytes(line[:3])
        assert size <= 2**24 - 1
        assert len(line) >= 9 + size
        assert line[3] <= frames.CONTINUATION
        line = line[9 + size :]


def converse(connection: Http2Connection, said: bytes, sizes: Iterator[int]) -> None:
    line = b""
    while said:
        size = next(sizes, len(said))
        happened = connection.receive(said[:size])
        while connection.unread:
            happened += connection.receive(b"")
        assert connection.failed == any(isinstance(event, events.ConnectionFailed) for event in happened)
        assert not any(isinstance(event, events.ConnectionFailed) for event in happened[:-1])
        answer(connection, happened)
        line += b"".join(connection.take())
        if connection.failed:
            assert connection.receive(said) == []
            break
        said = said[size:]
    if not line.startswith(b"HTTP/1.1 400"):
        check_frames(line.removeprefix(frames.PREFACE))
    for stream in list(connection.streams.values()):
        assert 0 <= stream.queued == sum(map(len, stream.queue))
        assert stream.receive_window <= frames.MAX_WINDOW >= stream.send_window
        connection.reset_stream(stream.id)
    assert not connection.streams


encoder = hpack.Encoder()
encoder.header_table_size = 0  # every block stands for itself
blocks = st.sampled_from([
    encoder.encode(REQUEST),
    encoder.encode([*REQUEST, ("content-length", "10")]),
    encoder.encode([*REQUEST, ("content-length", "-")]),
    encoder.encode(RESPONSE),
    encoder.encode([(":status", "100")]),
    encoder.encode([("grpc-status", "0")]),
    encoder.encode([(b"name", b"\xff")]),
    encoder.encode([("name", "x" * 1100)]),
])  # fmt: skip
values = st.sampled_from([0, 1, 100, 16_384, 65_535, 2**31 - 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
stream_ids = st.sampled_from([0, 1, 1, 1, 2, 3, 5, 7, 9, 2**31 - 1])
flags = st.sampled_from([0, 0, 0x1, 0x4, 0x5, 0x8, 0xD, 0x20, 0x25]) | st.integers(0, 255)
PAYLOADS = {
    frames.DATA: st.binary(max_size=300),
    frames.HEADERS: blocks | blocks.map(lambda block: block[:5]) | st.binary(max_size=40),
    frames.CONTINUATION: blocks | blocks.map(lambda block: block[5:]) | st.binary(max_size=40),
    frames.PRIORITY: st.binary(min_size=5, max_size=5),
    frames.RST_STREAM: values.map(frames.UINT32.pack),
    frames.SETTINGS: st.builds(frames.SETTING.pack, st.integers(0, 8), values),
    frames.PING: st.binary(min_size=8, max_size=8),
    frames.GOAWAY: st.builds(lambda last, code: frames.UINT32.pack(last) + frames.UINT32.pack(code), values, values),
    frames.WINDOW_UPDATE: values.map(frames.UINT32.pack),
}
kinds = st.sampled_from([frames.DATA, frames.HEADERS, *PAYLOADS])
valid_looking = kinds.flatmap(lambda kind: st.builds(frames.frame, st.just(kind), flags, stream_ids, PAYLOADS[kind]))
any_frame = st.builds(frames.frame, st.integers(0, 20), flags, stream_ids, st.binary(max_size=30))
cuts = st.lists(st.integers(1, 50) | st.integers(1, 500), max_size=30)
greeting = frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0)


@settings(max_examples=examples(200), deadline=None)
@given(st.booleans(), st.lists(valid_looking | valid_looking | any_frame, max_size=40), cuts)
def test_any_frames(client: bool, said: list[bytes], sizes: list[int]) -> None:
    preface = b"" if client else frames.PREFACE
    converse(new_connection(client), preface + greeting + b"".join(said), iter(sizes))


@settings(max_examples=examples(100), deadline=None)
@given(st.booleans(), st.binary(max_size=200), cuts, st.sampled_from([0, 10, 24, 33, 42]))
def test_any_bytes(client: bool, garbage: bytes, sizes: list[int], valid: int) -> None:
    start = (frames.PREFACE + greeting)[:valid].removeprefix(frames.PREFACE if client else b"")
    converse(new_connection(client), start + garbage, iter(sizes))


def conversation(client: bool) -> bytes:
    """Return the bytes that a well-behaved peer sends."""
    said = [b"" if client else frames.PREFACE, greeting, frames.window_update(0, 100_000)]
    for stream_id in (1, 3, 5):
        said += frames.header_block(stream_id, encoder.encode(RESPONSE if client else REQUEST), False, 20)
        said.append(frames.frame(frames.DATA, 0, stream_id, b"question" * 9))
        said.append(frames.frame(frames.DATA, frames.PADDED, stream_id, b"\x03padded" + bytes(3)))
        said.append(frames.window_update(stream_id, 100_000))
        said.append(frames.frame(frames.PING, 0, 0, b"12345678"))
    said.append(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, encoder.encode([("a", "b")])))
    said += [frames.frame(frames.DATA, frames.END_STREAM, 3), frames.rst_stream(5, 8), frames.goaway(5, 0)]
    return b"".join(said)


CONVERSATIONS = {client: conversation(client) for client in (True, False)}


def test_the_conversation_is_valid() -> None:
    for client, said in CONVERSATIONS.items():
        connection = new_connection(client)
        answer(connection, connection.receive(said))
        assert not connection.failed


changes = st.tuples(
    st.sampled_from(["flip", "drop", "repeat", "insert"]), st.integers(0, 10_000), st.binary(max_size=9)
)


@settings(max_examples=examples(200), deadline=None)
@given(st.booleans(), st.lists(changes, min_size=1, max_size=6), cuts)
def test_a_conversation_that_was_tampered_with(
    client: bool, changed: list[tuple[str, int, bytes]], sizes: list[int]
) -> None:
    said = bytearray(CONVERSATIONS[client])
    for change, place, other in changed:
        at = place % len(said)
        end = at + len(other)
        match change:
            case "flip":
                said[at:end] = other[: len(said) - at]
            case "drop":
                del said[at:end]
            case "repeat":
                said[at:at] = said[at : at + 10 * len(other)]
            case "insert":
                said[at:at] = other
    converse(new_connection(client), bytes(said), iter(sizes))
