"""Effects of the peer's frames, frame by frame (RFC 9113 sections 5, 6 and 8). The peer is driven by hand."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from konnectivity.http2 import ErrorCode, Settings, events, frames
from konnectivity.http2.abuse_limits import Limits
from konnectivity.http2.outbound import PIECE

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200")]
PING = frames.frame(frames.PING, 0, 0, b"12345678")
CANCEL = (8).to_bytes(4)


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.frame(frames.DATA, flags, stream_id, payload)


def padded(stream_id: int, payload: bytes, padding: int, flags: int = 0) -> bytes:
    return data(stream_id, bytes((padding,)) + payload + bytes(padding), flags | frames.PADDED)


def received(happened: list[events.Event]) -> bytes:
    return b"".join(event.data for event in happened if isinstance(event, events.DataReceived))


# ---- DATA ---------------------------------------------------------------------------------------------------------


def test_data_is_handed_on_as_it_comes(to_server):
    to_server.opens(1)
    frame = data(1, b"abcdef", frames.END_STREAM)
    assert to_server.says(frame[:5]) == []
    assert to_server.says(frame[5:11]) == [events.DataReceived(1, memoryview(b"ab"), 2, end_stream=False)]
    assert to_server.says(frame[11:]) == [events.DataReceived(1, memoryview(b"cdef"), 4, end_stream=True)]


def test_data_is_a_view_of_what_was_read(to_server):
    to_server.opens(1)
    read = data(1, b"abc") + data(1, b"def")
    assert [event.data.obj is read for event in to_server.connection.receive(read)] == [True, True]


def test_data_on_an_idle_stream(to_server, to_client):
    assert to_server.breaks_connection(data(1, b"x")) == (ErrorCode.PROTOCOL_ERROR, "DATA on idle stream 1")
    assert to_client.breaks_connection(data(2, b"x")) == (ErrorCode.PROTOCOL_ERROR, "DATA on idle stream 2")


def test_data_on_stream_0(to_server):
    assert to_server.breaks_connection(data(0, b"x"))[0] == ErrorCode.PROTOCOL_ERROR


def test_data_before_headers(to_client):
    to_client.connection.open_stream(REQUEST)
    assert to_client.breaks_stream(1, data(1, b"x")) == (ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")


def test_data_after_end_stream(to_server):
    to_server.opens(1)
    to_server.says(data(1, b"", frames.END_STREAM))
    assert to_server.breaks_stream(1, data(1, b"x")) == (ErrorCode.STREAM_CLOSED, "DATA on a closed stream")


def test_data_on_a_closed_stream(to_server):
    to_server.opens(1, 3)
    to_server.says(data(1, b"", frames.END_STREAM))
    to_server.connection.send_headers(1, RESPONSE, end_stream=True)
    assert to_server.breaks_stream(1, data(1, b"x"))[0] == ErrorCode.STREAM_CLOSED
    to_server.says(frames.rst_stream(3, 8))
    assert to_server.breaks_stream(3, data(3, b"x"))[0] == ErrorCode.STREAM_CLOSED


def test_data_on_a_stream_that_we_reset_is_dropped(to_server):
    to_server.opens(1)
    to_server.connection.reset_stream(1)
    to_server.connection.take()
    assert to_server.says(data(1, b"late"), padded(1, b"late", 3)) == []
    assert not to_server.connection.output


def test_the_rest_of_a_frame_whose_stream_ended_is_dropped(to_server):
    to_server.opens(1, 3)
    frame = data(1, b"abcdef")
    assert received(to_server.says(frame[:12])) == b"abc"
    to_server.connection.reset_stream(1)
    assert received(to_server.says(frame[12:], data(3, b"next"))) == b"next"


def test_data_over_the_streams_window(to_server):
    to_server.opens(1, 3)
    assert received(to_server.says(*[data(1, bytes(13_107))] * 5)) == bytes(65_535)
    code, message = to_server.breaks_stream(1, data(1, b"x"))
    assert (code, message) == (ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
    assert received(to_server.says(data(3, b"fine"))) == b"fine"


def test_data_over_the_connections_window(hand_peer):
    peer = hand_peer(client=False, settings=Settings(max_frame_size=100_000), connection_window=65_535)
    peer.opens(1)
    code, message = peer.breaks_connection(data(1, bytes(65_536)))
    assert (code, message) == (ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")


@pytest.mark.parametrize("make", [lambda size: data(1, bytes(size)), lambda size: padded(1, bytes(size - 56), 55)])
def test_the_connections_window_is_returned_whatever_becomes_of_the_data(hand_peer, make):
    peer = hand_peer(client=False, connection_window=100_000)
    peer.opens(1)
    peer.connection.reset_stream(1)
    peer.connection.take()
    assert peer.says(make(16_000), make(16_000), make(16_000)) == []
    assert peer.hears() == []
    assert peer.says(make(16_000)) == []
    assert peer.hears() == [(frames.WINDOW_UPDATE, 0, 0, (64_000).to_bytes(4))]


def test_a_small_connection_window_is_the_one_the_peer_starts_with(hand_peer):
    peer = hand_peer(client=False, settings=Settings(max_frame_size=100_000), connection_window=1000)
    peer.opens(1)
    assert received(peer.says(data(1, bytes(65_535)))) == bytes(65_535)


def test_padding_is_taken_off_and_given_credit_for(to_server):
    to_server.opens(1)
    assert to_server.says(padded(1, b"abc", 5), padded(1, b"", 255), padded(1, b"d", 0, frames.END_STREAM)) == [
        events.DataReceived(1, memoryview(b"abc"), 9, end_stream=False),
        events.DataReceived(1, memoryview(b""), 256, end_stream=False),
        events.DataReceived(1, memoryview(b"d"), 2, end_stream=True),
    ]


def test_padding_counts_in_the_streams_window(hand_peer):
    peer = hand_peer(client=False, settings=Settings(initial_window_size=100))
    peer.opens(1)
    assert len(peer.says(padded(1, b"", 99))) == 1
    assert peer.breaks_stream(1, padded(1, b"", 0))[0] == ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x04abc", b"\xff" + bytes(254)])
@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS])
def test_padding_longer_than_the_frame(to_server, kind, payload):
    to_server.opens(1)
    frame = frames.frame(kind, frames.PADDED | frames.END_HEADERS, 1, payload)
    assert to_server.breaks_connection(frame) == (ErrorCode.PROTOCOL_ERROR, "padding as long as the frame")


def test_content_length_is_kept_to(to_server):
    for stream_id in (1, 3, 5, 7):
        to_server.says(to_server.headers(stream_id, [*REQUEST, ("content-length", "6")]))
    exact = to_server.says(data(1, b"abc"), padded(1, b"def", 9, frames.END_STREAM))
    assert received(exact) == b"abcdef"
    mismatch = (ErrorCode.PROTOCOL_ERROR, "DATA differs from content-length")
    assert to_server.breaks_stream(3, data(3, b"abcdefg")) == mismatch
    assert to_server.breaks_stream(5, data(5, b"abc", frames.END_STREAM)) == mismatch
    to_server.says(data(7, b"abc"))
    assert to_server.breaks_stream(7, to_server.headers(7, [("a", "b")], frames.END_STREAM)) == mismatch


# ---- HEADERS ------------------------------------------------------------------------------------------------------


def test_a_request_without_a_body(to_server):
    assert to_server.says(to_server.headers(1, flags=frames.END_STREAM)) == [
        events.HeadersReceived(1, REQUEST, end_stream=True, trailers=False)
    ]
    to_server.connection.send_headers(1, RESPONSE, end_stream=True)
    assert not to_server.connection.streams


def test_padding_and_priority_of_headers_are_taken_off(to_server):
    block = to_server.encoder.encode(REQUEST)
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITY_FLAG
    payload = b"\x07" + b"\x80\0\0\3\xff" + block + bytes(7)
    assert to_server.says(frames.frame(frames.HEADERS, flags, 1, payload)) == [
        events.HeadersReceived(1, REQUEST, end_stream=False, trailers=False)
    ]


def test_headers_too_short_for_their_priority(to_server):
    flags = frames.END_HEADERS | frames.PRIORITY_FLAG
    assert to_server.breaks_connection(frames.frame(frames.HEADERS, flags, 1, b"\0\0\0\0")) == (
        ErrorCode.FRAME_SIZE_ERROR,
        "HEADERS too short for its priority",
    )


def test_headers_of_a_stream_that_depends_on_itself(to_server):
    flags = frames.END_HEADERS | frames.PRIORITY_FLAG
    frame = frames.frame(frames.HEADERS, flags, 1, b"\x80\0\0\1\x10" + to_server.encoder.encode(REQUEST))
    assert to_server.breaks_connection(frame) == (ErrorCode.PROTOCOL_ERROR, "stream 1 depends on itself")


@pytest.mark.parametrize("stream_id", [0, 2])
def test_headers_where_only_a_server_could_have_opened(to_server, to_client, stream_id):
    for peer in (to_server, to_client):
        assert peer.breaks_connection(peer.headers(stream_id))[0] == ErrorCode.PROTOCOL_ERROR


def test_a_server_opens_no_stream(to_client):
    assert to_client.breaks_connection(to_client.headers(1, RESPONSE)) == (
        ErrorCode.PROTOCOL_ERROR,
        "HEADERS on idle stream 1",
    )


def test_a_stream_id_that_was_passed_over(to_server):
    to_server.opens(5)
    assert to_server.breaks_connection(to_server.headers(3)) == (
        ErrorCode.PROTOCOL_ERROR,
        "HEADERS on stream 3, which is closed",
    )


def test_headers_on_a_closed_stream(to_server):
    to_server.opens(1)
    to_server.says(frames.rst_stream(1, 8))
    assert to_server.breaks_connection(to_server.headers(1))[0] == ErrorCode.STREAM_CLOSED


def test_headers_on_a_stream_that_we_reset_are_dropped_but_decoded(to_server, to_client):
    to_server.opens(1)
    to_server.connection.reset_stream(1)
    assert to_server.says(to_server.headers(1, [("new", "name")], frames.END_STREAM)) == []
    (event,) = to_server.says(to_server.headers(3, [*REQUEST, ("new", "name")]))
    assert event.headers == [*REQUEST, ("new", "name")]

    to_client.connection.open_stream(REQUEST)
    to_client.connection.reset_stream(1)
    assert to_client.says(to_client.headers(1, RESPONSE)) == []


def test_headers_after_end_stream(to_server):
    to_server.says(to_server.headers(1, flags=frames.END_STREAM))
    assert to_server.breaks_stream(1, to_server.headers(1)) == (ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")


def test_request_trailers(to_server):
    to_server.opens(1)
    assert to_server.says(to_server.headers(1, [("a", "b")], frames.END_STREAM)) == [
        events.HeadersReceived(1, [("a", "b")], end_stream=True, trailers=True)
    ]


def test_a_second_header_block_ends_the_stream(to_server):
    to_server.opens(1)
    assert to_server.breaks_stream(1, to_server.headers(1, [("a", "b")])) == (
        ErrorCode.PROTOCOL_ERROR,
        "second header block without END_STREAM",
    )


def test_trailers_have_no_pseudo_headers(to_server):
    to_server.opens(1)
    code, message = to_server.breaks_stream(1, to_server.headers(1, [(":path", "/")], frames.END_STREAM))
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "':path' is not allowed here or stands twice")


def test_a_malformed_request_concerns_its_stream_only(to_server):
    code, _ = to_server.breaks_stream(1, to_server.headers(1, [*REQUEST, ("Upper", "x")]))
    assert code == ErrorCode.PROTOCOL_ERROR
    code, message = to_server.breaks_stream(3, to_server.headers(3, [*REQUEST, (b"name", b"\xff")]))
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "bad value of header name")
    length = [*REQUEST, ("content-length", "3")]
    code, message = to_server.breaks_stream(5, to_server.headers(5, length, frames.END_STREAM))
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "content-length without DATA")
    to_server.opens(7)


def test_more_streams_than_we_take(hand_peer):
    peer = hand_peer(client=False, settings=Settings(max_concurrent_streams=2))
    peer.opens(1, 3)
    peer.connection.take()
    assert peer.says(peer.headers(5), data(5, b"dropped")) == []
    assert peer.hears() == [(frames.RST_STREAM, 0, 5, b"\0\0\0\7")]
    peer.says(frames.rst_stream(1, 8))
    peer.opens(7)


def test_interim_responses_are_passed_over(to_client):
    to_client.connection.open_stream(REQUEST)
    assert to_client.says(to_client.headers(1, [(":status", "103"), ("link", "x")])) == []
    assert len(to_client.says(to_client.headers(1, RESPONSE))) == 1


def test_an_interim_response_does_not_end_the_stream(to_client):
    to_client.connection.open_stream(REQUEST)
    assert to_client.breaks_stream(1, to_client.headers(1, [(":status", "100")], frames.END_STREAM)) == (
        ErrorCode.PROTOCOL_ERROR,
        "interim response that ends the stream",
    )


def test_a_response_that_is_all_there_is(to_client):
    to_client.connection.open_stream(REQUEST)
    to_client.connection.end_stream(1)
    assert to_client.says(to_client.headers(1, RESPONSE, frames.END_STREAM)) == [
        events.HeadersReceived(1, RESPONSE, end_stream=True, trailers=False)
    ]
    assert not to_client.connection.streams


# ---- header blocks ------------------------------------------------------------------------------------------------


def test_a_header_block_in_pieces(to_server):
    block = to_server.encoder.encode(REQUEST)
    assert to_server.says(
        frames.frame(frames.HEADERS, frames.END_STREAM | frames.PADDED, 1, b"\2" + block[:3] + bytes(2)),
        frames.frame(frames.CONTINUATION, 0, 1, block[3:6]),
        frames.frame(frames.CONTINUATION, 0, 1),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[6:]),
    ) == [events.HeadersReceived(1, REQUEST, end_stream=True, trailers=False)]


@pytest.mark.parametrize(
    "frame",
    [
        PING,
        data(1, b"x"),
        frames.settings({}),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x88"),
        frames.frame(0x77, 0, 1),
    ],
)
def test_nothing_stands_inside_a_header_block(to_server, frame):
    start = frames.frame(frames.HEADERS, 0, 1, to_server.encoder.encode(REQUEST))
    assert to_server.breaks_connection(start, frame) == (
        ErrorCode.PROTOCOL_ERROR,
        "a frame stands inside a header block",
    )


def test_a_continuation_of_another_stream(to_server):
    start = frames.frame(frames.HEADERS, 0, 1, to_server.encoder.encode(REQUEST))
    code, message = to_server.breaks_connection(start, frames.frame(frames.CONTINUATION, frames.END_HEADERS, 3))
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block of stream 3")


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_continuation_of_nothing(to_server, stream_id):
    to_server.opens(1)
    assert to_server.breaks_connection(frames.frame(frames.CONTINUATION, 0, stream_id))[0] == ErrorCode.PROTOCOL_ERROR


def test_a_malformed_request_in_pieces_concerns_its_stream_only(to_server):
    start = frames.frame(frames.HEADERS, 0, 1, to_server.encoder.encode(REQUEST[:2]))
    code, _ = to_server.breaks_stream(1, start, frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1))
    assert code == ErrorCode.PROTOCOL_ERROR
    to_server.opens(3)


@pytest.mark.parametrize("block", [b"\x80", b"\xff\xff\xff\xff\xff\xff", b"\x40\x05ab", b"\x00\x81\xff"])
def test_a_header_block_that_cannot_be_decoded(to_server, block):
    code, message = to_server.breaks_connection(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block))
    assert code == ErrorCode.COMPRESSION_ERROR
    assert message == "header block cannot be decoded"


def test_the_decompressors_table_is_as_large_as_we_announced(to_server):
    size_4097 = b"\x3f\xe2\x1f"
    frame = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, size_4097 + to_server.encoder.encode(REQUEST))
    assert to_server.breaks_connection(frame)[0] == ErrorCode.COMPRESSION_ERROR


def test_a_header_list_that_is_too_large(hand_peer):
    peer = hand_peer(client=False, limits=Limits(header_list_bytes=400))
    peer.says(peer.headers(1, [*REQUEST, ("a", "x" * 400)][:4]))
    assert peer.breaks_connection(peer.headers(3, [*REQUEST, ("a", "x" * 400)])) == (
        ErrorCode.ENHANCE_YOUR_CALM,
        "header list too large",
    )


# ---- PRIORITY, RST_STREAM -----------------------------------------------------------------------------------------


def test_priorities_are_ignored(to_server):
    priority = frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\x10")
    assert to_server.says(priority) == []
    to_server.opens(1)
    assert to_server.says(priority) == []
    assert to_server.connection.receive(PING) == []
    assert to_server.hears()[-1].kind == frames.PING


def test_malformed_priorities(to_server, hand_peer):
    to_server.opens(1)
    short = frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\3")
    assert to_server.breaks_stream(1, short) == (ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes")
    to_server.opens(3)
    itself = frames.frame(frames.PRIORITY, 0, 3, b"\x80\0\0\3\x10")
    assert to_server.breaks_stream(3, itself) == (ErrorCode.PROTOCOL_ERROR, "stream 3 depends on itself")
    assert to_server.breaks_connection(frames.frame(frames.PRIORITY, 0, 0, bytes(5))) == (
        ErrorCode.PROTOCOL_ERROR,
        "PRIORITY on stream 0",
    )
    # An idle stream cannot be reset.
    assert hand_peer(client=False).breaks_connection(short)[0] == ErrorCode.FRAME_SIZE_ERROR


def test_a_stream_reset_by_the_peer(to_server):
    to_server.opens(1, 3)
    stream = to_server.connection.streams[1]
    to_server.connection.send_data(stream, bytes(70_000))
    to_server.connection.take()
    assert to_server.says(frames.rst_stream(1, 8), frames.rst_stream(1, 8), frames.rst_stream(3, 0x99)) == [
        events.StreamEnded(1, 8, "stream reset by the peer: CANCEL", by_peer=True),
        events.StreamEnded(3, 0x99, "stream reset by the peer: error code 0x99", by_peer=True),
    ]
    to_server.connection.send_data(stream, b"late")
    assert to_server.says(frames.window_update(0, 100_000)) == []
    assert not to_server.connection.output


def test_malformed_resets(hand_peer):
    for frame, code in [
        (frames.rst_stream(0, 8), ErrorCode.PROTOCOL_ERROR),
        (frames.rst_stream(5, 8), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, b"\0\0\0"), ErrorCode.FRAME_SIZE_ERROR),
    ]:
        peer = hand_peer(client=False)
        peer.opens(1)
        assert peer.breaks_connection(frame)[0] == code


# ---- SETTINGS (their effect on what we send: test_outbound) ---------------------------------------------------------


def test_settings_are_acknowledged(to_server):
    assert to_server.says(frames.settings({0x1: 100, 0x6: 500, 0xF000: 7})) == [events.SettingsChanged()]
    assert to_server.hears() == [(frames.SETTINGS, frames.ACK, 0, b"")]
    assert to_server.connection.remote.max_header_list_size == 500


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, frames.ACK, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.settings({0x2: 2}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings({0x4: 2**31}), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.settings({0x5: 16_383}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings({0x5: 2**24}), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_malformed_settings(to_server, frame, code):
    assert to_server.breaks_connection(frame)[0] == code


def test_a_server_has_nothing_to_push(to_client, to_server):
    assert len(to_client.says(frames.settings({0x2: 0}))) == 1
    assert to_client.breaks_connection(frames.settings({0x2: 1}))[0] == ErrorCode.PROTOCOL_ERROR
    assert len(to_server.says(frames.settings({0x2: 1}))) == 1


def test_our_small_window_holds_from_the_ack_on(hand_peer):
    """Until the acknowledgement the peer may not know the smaller window (RFC 9113 section 6.9.2)."""
    peer = hand_peer(client=False, settings=Settings(initial_window_size=10_000), greeted=False)
    peer.says(frames.PREFACE, frames.settings({}))
    peer.opens(1, 3)
    assert received(peer.says(data(1, bytes(16_000)))) == bytes(16_000)
    assert peer.says(frames.frame(frames.SETTINGS, frames.ACK, 0)) == []
    assert peer.breaks_stream(1, data(1, b"x"))[0] == ErrorCode.FLOW_CONTROL_ERROR
    assert received(peer.says(data(3, bytes(10_000)))) == bytes(10_000)
    assert peer.breaks_stream(3, data(3, b"x"))[0] == ErrorCode.FLOW_CONTROL_ERROR


def test_a_window_below_zero_is_returned_as_it_is_consumed(hand_peer):
    peer = hand_peer(client=False, settings=Settings(initial_window_size=10_000), greeted=False)
    peer.says(frames.PREFACE, frames.settings({}))
    peer.opens(1)
    peer.says(data(1, bytes(16_000)), frames.frame(frames.SETTINGS, frames.ACK, 0))
    peer.connection.take()
    peer.connection.acknowledge(1, 16_000)
    assert peer.hears() == [(frames.WINDOW_UPDATE, 0, 1, (16_000).to_bytes(4))]
    assert received(peer.says(data(1, bytes(10_000)))) == bytes(10_000)
    assert peer.breaks_stream(1, data(1, b"x"))[0] == ErrorCode.FLOW_CONTROL_ERROR


def test_the_end_of_a_stream_needs_no_window(hand_peer):
    peer = hand_peer(client=False, settings=Settings(initial_window_size=10_000), greeted=False)
    peer.says(frames.PREFACE, frames.settings({}))
    peer.opens(1)
    peer.says(data(1, bytes(16_000)), frames.frame(frames.SETTINGS, frames.ACK, 0))
    assert peer.says(data(1, b"", frames.END_STREAM)) == [events.DataReceived(1, memoryview(b""), 0, end_stream=True)]


def test_what_was_consumed_before_the_ack_is_returned_with_it(hand_peer):
    """The bytes are less than half of the window before the acknowledgement, and more than all of it after."""
    peer = hand_peer(client=False, settings=Settings(initial_window_size=60), greeted=False)
    peer.says(frames.PREFACE, frames.settings({}))
    peer.opens(1)
    peer.says(data(1, bytes(700)))
    peer.connection.take()
    peer.connection.acknowledge(1, 700)
    assert not peer.connection.output
    peer.says(frames.frame(frames.SETTINGS, frames.ACK, 0))
    assert peer.hears() == [(frames.WINDOW_UPDATE, 0, 1, (700).to_bytes(4))]


# ---- PUSH_PROMISE, PING, GOAWAY -----------------------------------------------------------------------------------


def test_no_push(to_client, to_server):
    for peer in (to_client, to_server):
        code, message = peer.breaks_connection(frames.frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, bytes(9)))
        assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")


def test_a_ping_is_answered(to_server):
    assert to_server.says(PING) == []
    assert to_server.hears() == [(frames.PING, frames.ACK, 0, b"12345678")]


def test_malformed_pings(hand_peer):
    assert hand_peer(client=False).breaks_connection(frames.frame(frames.PING, 0, 1, bytes(8))) == (
        ErrorCode.PROTOCOL_ERROR,
        "PING on stream 1",
    )
    for size in (7, 9):
        frame = frames.frame(frames.PING, frames.ACK, 0, bytes(size))
        assert hand_peer(client=False).breaks_connection(frame) == (ErrorCode.FRAME_SIZE_ERROR, "PING is not 8 bytes")


def test_the_server_goes_away(to_client):
    client = to_client.connection
    for _ in range(3):
        client.open_stream(REQUEST)
    client.send_data(client.streams[5], bytes(70_000))
    assert to_client.says(frames.goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too many \xff")) == [
        events.GoAwayReceived(1, ErrorCode.ENHANCE_YOUR_CALM, "too many \ufffd"),
        events.StreamEnded(3, ErrorCode.REFUSED_STREAM, "refused by the peer's GOAWAY too many \ufffd", by_peer=True),
        events.StreamEnded(5, ErrorCode.REFUSED_STREAM, "refused by the peer's GOAWAY too many \ufffd", by_peer=True),
    ]
    assert list(client.streams) == [1]
    assert len(to_client.says(to_client.headers(1, RESPONSE))) == 1


def test_the_client_goes_away(to_server):
    to_server.opens(1)
    assert to_server.says(frames.goaway(0, 0)) == [events.GoAwayReceived(0, 0, "")]
    assert received(to_server.says(data(1, b"goes on"))) == b"goes on"


def test_malformed_goaways(hand_peer):
    assert hand_peer(client=True).breaks_connection(frames.frame(frames.GOAWAY, 0, 1, bytes(8))) == (
        ErrorCode.PROTOCOL_ERROR,
        "GOAWAY on stream 1",
    )
    assert hand_peer(client=True).breaks_connection(frames.frame(frames.GOAWAY, 0, 0, bytes(7))) == (
        ErrorCode.FRAME_SIZE_ERROR,
        "GOAWAY is shorter than 8 bytes",
    )


# ---- WINDOW_UPDATE (its effect on what we send: test_outbound) ------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(0, frames.MAX_WINDOW - 65_534), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.window_update(3, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 1, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_window_updates_that_break_the_connection(to_server, frame, code):
    to_server.opens(1)
    assert to_server.breaks_connection(frame)[0] == code


def test_window_updates_that_break_the_stream(to_server):
    to_server.opens(1, 3)
    zero = frames.frame(frames.WINDOW_UPDATE, 0, 1, b"\x80\0\0\0")  # the highest bit means nothing
    assert to_server.breaks_stream(1, zero) == (ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
    over = frames.window_update(3, frames.MAX_WINDOW - 65_534)
    assert to_server.breaks_stream(3, over) == (ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE over the maximum")


def test_the_largest_windows_are_allowed(to_server):
    to_server.opens(1)
    most = frames.MAX_WINDOW - 65_535
    assert to_server.says(frames.window_update(0, most), frames.window_update(1, most)) == []
    assert to_server.connection.streams[1].send_window == frames.MAX_WINDOW


def test_a_window_update_of_a_closed_stream_is_late(to_server):
    to_server.opens(1)
    to_server.connection.reset_stream(1)
    to_server.connection.take()
    assert to_server.says(frames.window_update(1, 5), frames.window_update(1, 0)) == []
    assert not to_server.connection.output


# ---- what a peer may cost -----------------------------------------------------------------------------------------


def test_unknown_frames_are_ignored(to_server):
    to_server.opens(1)
    assert to_server.says(*(frames.frame(kind, 0xFF, 0, b"x" * kind) for kind in range(0xA, 0x100))) == []
    assert not to_server.connection.failed


@pytest.mark.parametrize(
    "frame",
    [
        PING,
        frames.frame(frames.PING, frames.ACK, 0, bytes(8)),
        frames.settings({}),
        frames.frame(frames.SETTINGS, frames.ACK, 0),
        frames.frame(frames.PRIORITY, 0, 1, bytes(5)),
        frames.rst_stream(1, 8),
        frames.goaway(0, 0),
        data(3, b""),
        frames.frame(0x77, 0, 0, b"unknown"),
    ],
)
def test_a_flood(hand_peer, frame):
    now = [0.0]
    limits = Limits(cheap_frames_burst=20, cheap_frames_per_s=10)
    peer = hand_peer(client=False, limits=limits, clock=lambda: now[0])
    peer.opens(1, 3)
    peer.connection.send_headers(1, RESPONSE)
    peer.says(frames.rst_stream(1, 8))
    for _ in range(15):
        peer.says(frame)
    assert not peer.connection.failed
    now[0] += 1.0
    for _ in range(10):
        peer.says(frame)
    assert not peer.connection.failed
    code, message = peer.breaks_connection(*[frame] * 10)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")


def test_a_flood_of_faults(hand_peer):
    """Each fault opens a stream that we then reset: no stream stays open, and every fault is charged to the peer."""
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=20))
    said = [peer.headers(stream_id) + frames.window_update(stream_id, 0) for stream_id in range(1, 61, 2)]
    assert peer.breaks_connection(*said) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")


def test_settings_that_move_the_windows_cost_more(hand_peer):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=1000))
    moves = [frames.settings({0x4: size}) for size in range(1, 12)]
    code, message = peer.breaks_connection(*moves)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")


@pytest.mark.parametrize("frame", [PING, frames.settings({}), frames.frame(frames.PRIORITY, 0, 1, b"1234")])
def test_a_peer_that_asks_and_does_not_read(hand_peer, frame):
    peer = hand_peer(client=False, limits=Limits(unsent_replies=10))
    peer.opens(1)
    peer.connection.reset_stream(1)
    peer.connection.costs.replies_written()
    peer.says(*[frame] * 10)
    peer.connection.costs.replies_written()
    peer.says(*[frame] * 10)
    assert not peer.connection.failed
    assert peer.breaks_connection(frame) == (
        ErrorCode.ENHANCE_YOUR_CALM,
        "the peer asks for answers and does not read them",
    )


def test_many_refused_streams_are_answers_too(hand_peer):
    peer = hand_peer(client=False, settings=Settings(max_concurrent_streams=0), limits=Limits(unsent_replies=10))
    peer.connection.costs.replies_written()
    requests = [peer.headers(stream_id) for stream_id in range(1, 23, 2)]
    assert peer.breaks_connection(*requests)[0] == ErrorCode.ENHANCE_YOUR_CALM


def test_window_updates_for_what_was_sent_and_small_data_are_no_flood(hand_peer):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=5))
    peer.opens(1)
    stream = peer.connection.streams[1]
    for _ in range(50):
        peer.connection.send_data(stream, b"x")
        peer.connection.take()
        peer.says(frames.window_update(0, 1), frames.window_update(1, 1), data(1, b"x"))
    assert not peer.connection.failed


@pytest.mark.parametrize("stream_id", [0, 1, 3])
def test_window_updates_for_nothing_are_a_flood(hand_peer, stream_id):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=5))
    peer.opens(1, 3)
    peer.connection.send_headers(3, RESPONSE)
    peer.says(frames.rst_stream(3, 8))
    peer.connection.take()
    code, message = peer.breaks_connection(*[frames.window_update(stream_id, 1)] * 10)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")


def test_streams_that_are_reset_before_they_have_an_answer_cost_more(hand_peer):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=100))
    opened = [peer.headers(stream_id) + frames.rst_stream(stream_id, 8) for stream_id in range(1, 13, 2)]
    peer.says(*opened[:4])
    assert not peer.connection.failed
    assert peer.breaks_connection(*opened[4:]) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=100))
    for stream_id in range(1, 101, 2):
        peer.opens(stream_id)
        peer.connection.send_headers(stream_id, RESPONSE)
        peer.says(frames.rst_stream(stream_id, 8))
    assert not peer.connection.failed


def test_new_streams_that_come_too_fast_are_refused(hand_peer):
    """Both a peer that opens and resets streams and one that only opens them exceed the rate."""
    now, reached = [0.0], Counter()
    limits = Limits(new_streams_burst=3, new_streams_per_s=2, cheap_frames_burst=50)
    peer = hand_peer(client=False, limits=limits, clock=lambda: now[0], reached=reached)
    peer.opens(1, 3, 5)
    peer.connection.take()
    assert peer.says(peer.headers(7)) == []
    assert [(frame.kind, frame.stream_id) for frame in peer.hears()] == [(frames.RST_STREAM, 7)]
    now[0] += 0.5
    peer.opens(9)
    assert reached == {"new_streams": 1}
    rapid = [peer.headers(stream_id) + frames.rst_stream(stream_id, 8) for stream_id in range(11, 211, 2)]
    assert peer.breaks_connection(*rapid) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")
    assert reached["control_frames"] == 1


def test_the_window_of_a_stream_that_is_consumed_grows_once(hand_peer):
    peer = hand_peer(client=False, grown_window=100_000)
    peer.opens(1)
    peer.connection.take()
    peer.says(data(1, bytes(16_384)))
    peer.connection.acknowledge(1, 16_384)
    assert not peer.connection.output
    peer.says(data(1, bytes(16_384)))
    peer.connection.acknowledge(1, 16_384)
    grown = 100_000 - frames.DEFAULT_WINDOW
    assert b"".join(peer.connection.take()) == frames.window_update(1, 32_768 + grown)
    for _ in range(4):
        peer.says(data(1, bytes(16_384)))
    peer.connection.acknowledge(1, 4 * 16_384)
    assert b"".join(peer.connection.take()).endswith(frames.window_update(1, 4 * 16_384))


# ---- a peer that is slowed down, and not cut -------------------------------------------------------------------------


def test_a_flood_makes_the_reading_overdue(hand_peer):
    now = [0.0]
    limits = Limits(cheap_frames_burst=20, cheap_frames_per_s=10, unsent_replies=10, slow_down=True)
    peer = hand_peer(client=False, limits=limits, clock=lambda: now[0])
    peer.says(*[PING] * 15)
    assert peer.connection.costs.overdue_s == 0.0
    peer.says(*[PING] * 15)
    assert 1.0 <= peer.connection.costs.overdue_s <= 1.2  # our SETTINGS were answered, too
    now[0] += 0.5
    assert 0.5 <= peer.connection.costs.overdue_s <= 0.7
    now[0] += 0.7
    assert peer.connection.costs.overdue_s == 0.0
    assert not peer.connection.failed


def test_cancelled_calls_of_a_peer_that_is_slowed_down(hand_peer):
    """Cancelled calls that had an answer are free, others cost little; each reset of a closed stream counts."""
    limits = Limits(cheap_frames_burst=100, cheap_frames_per_s=1, new_streams_per_s=0, slow_down=True)
    peer = hand_peer(client=False, limits=limits)
    for stream_id in range(1, 401, 2):
        peer.opens(stream_id)
        peer.connection.send_headers(stream_id, RESPONSE)
        peer.says(frames.rst_stream(stream_id, 8))
    assert peer.connection.costs.overdue_s == 0.0
    peer.says(*[peer.headers(each) + frames.rst_stream(each, 8) for each in range(401, 481, 2)])
    assert peer.connection.costs.overdue_s == 0.0
    peer.says(*[frames.rst_stream(1, 8)] * 30)
    assert peer.connection.costs.overdue_s > 0.0


def test_settings_that_move_the_windows_again_and_again_end_the_connection_all_the_same(hand_peer):
    peer = hand_peer(client=False, limits=Limits(slow_down=True))
    code, message = peer.breaks_connection(*[frames.settings({0x4: size}) for size in range(600)])
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")


def test_streams_on_which_too_much_waits_are_named(hand_peer):
    peer = hand_peer(client=False, said={0x4: 10})
    peer.opens(1, 3)
    connection = peer.connection
    connection.limit_queues(100)
    for stream_id, size in ((1, 111), (3, 110)):
        connection.send_headers(stream_id, RESPONSE)
        connection.send_data(connection.streams[stream_id], bytes(size))
    assert connection.take_overfull() == [1]
    assert connection.take_overfull() == []
    connection.send_data(connection.streams[3], b"x")
    assert connection.take_overfull() == [3]


def test_what_waits_for_the_peers_windows_is_counted(hand_peer):
    peer = hand_peer(client=False, said={0x4: 10})
    peer.opens(1, 3)
    for stream_id in (1, 3):
        peer.connection.send_data(peer.connection.streams[stream_id], b"x" * 5, b"y" * 1000)
    assert 2 * 995 < peer.connection.queued <= 2 * 995 + 4 * PIECE
    peer.says(frames.window_update(1, 500))
    assert 995 + 495 < peer.connection.queued <= 995 + 495 + 4 * PIECE
    peer.says(frames.window_update(1, 495))
    assert 995 < peer.connection.queued <= 995 + 2 * PIECE
    peer.says(frames.rst_stream(3, 8))
    assert peer.connection.queued == 0


def test_header_blocks_in_too_many_pieces(hand_peer):
    peer = hand_peer(client=False, limits=Limits(continuation_frames=3))
    block = peer.encoder.encode(REQUEST)
    pieces = [frames.frame(frames.CONTINUATION, 0, 1)] * 2
    end = frames.frame(frames.CONTINUATION, frames.END_HEADERS, 3)
    start = frames.frame(frames.HEADERS, 0, 1, block)
    code, message = peer.breaks_connection(start, *pieces, pieces[0], end)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "header block too large")


@pytest.mark.parametrize("cut_at", [1000, 501, 300])
def test_header_blocks_that_are_too_large(hand_peer, cut_at):
    peer = hand_peer(client=False, limits=Limits(header_block_bytes=500))
    block = bytes(501)
    start = frames.frame(frames.HEADERS, 0, 1, block[:cut_at])
    more = frames.frame(frames.CONTINUATION, 0, 1, block[cut_at:])
    code, message = peer.breaks_connection(start, more)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "header block too large")


# ---- header fields, and passes that end early ---------------------------------------------------------------------


def test_a_header_block_of_too_many_fields(hand_peer):
    peer = hand_peer(client=False, limits=Limits(header_fields=6))
    peer.opens(1)
    block = peer.encoder.encode([*REQUEST, *(("a", "b") for _ in range(3))])
    code, message = peer.breaks_connection(frames.frame(frames.HEADERS, frames.END_HEADERS, 3, block))
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "too many header fields")


def test_usual_header_blocks_are_free_and_large_ones_cost(hand_peer):
    limits = Limits(cheap_frames_burst=200, cheap_frames_per_s=1)
    usual, large = [*REQUEST, *(("a", "b") for _ in range(10))], [*REQUEST, *(("a", "b") for _ in range(90))]
    peer = hand_peer(client=False, limits=limits)
    for number in range(500):
        peer.says(peer.headers(1 + 2 * number, usual))
    assert not peer.connection.failed
    for number in range(500, 510):
        peer.says(peer.headers(1 + 2 * number, large))
    assert peer.connection.failed


def test_headers_on_a_stream_that_was_reset_cost(hand_peer):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=200, cheap_frames_per_s=1))
    peer.opens(1)
    peer.connection.reset_stream(1)
    for _ in range(100):
        peer.says(peer.headers(1))
    assert peer.connection.failed


def test_a_pass_over_expensive_frames_ends_early_and_nothing_is_lost(to_server):
    said = b"".join(to_server.headers(1 + 2 * number) for number in range(1500))
    connection, happened, passes = to_server.connection, [], 1
    happened += connection.receive(said)
    assert connection.unread
    while connection.unread:
        before = len(happened)
        happened += connection.receive(b"")
        assert len(happened) - before < 400
        passes += 1
    assert passes > 4
    opened = [event.stream_id for event in happened if isinstance(event, events.HeadersReceived)]
    assert opened == [1 + 2 * number for number in range(Limits().new_streams_burst)]
    assert connection.receive(b"") == []


def test_many_small_data_frames_are_read_in_passes(to_server):
    to_server.opens(1)
    connection = to_server.connection
    happened = connection.receive(data(1, b"x") * 3000)
    assert connection.unread
    happened += connection.receive(data(1, b"y"))  # more may come meanwhile
    while connection.unread:
        happened += connection.receive(b"")
    assert b"".join(bytes(event.data) for event in happened) == b"x" * 3000 + b"y"
    assert to_server.connection.receive(data(1, b"z") + PING[:5]) != []
    assert not connection.unread


def test_a_connection_that_failed_has_nothing_unread(to_server):
    flood = PING * 20_000
    to_server.connection.receive(flood)
    while to_server.connection.unread:
        to_server.connection.receive(b"")
    assert to_server.connection.failed
    assert not to_server.connection.unread


def test_settings_of_many_parameters_cost(hand_peer):
    peer = hand_peer(client=False, limits=Limits(cheap_frames_burst=1000, cheap_frames_per_s=1))
    for _ in range(5):
        peer.says(frames.frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(0x99, 1) * 2700))
    assert peer.connection.failed


def test_the_debug_text_of_a_goaway_is_cut(to_client):
    (goaway,) = to_client.says(frames.goaway(0, 0, "€".encode() * 5000))
    assert isinstance(goaway, events.GoAwayReceived)
    assert len(goaway.debug.encode()) <= 256
    assert goaway.debug.startswith("€€€")
    assert goaway.debug.endswith("€...")


def test_events_are_not_held_after_they_were_returned(to_server):
    happened = to_server.connection.receive(to_server.headers(1, [*REQUEST, ("a", "b" * 100)]))
    holders = sys.getrefcount(happened)
    assert holders == 2, "beside this variable and the argument somebody holds the list"
