"""Beginning, methods and end of a connection. The other end is driven by hand (see conftest)."""

from __future__ import annotations

import pytest

from konnectivity.http2 import ErrorCode, Settings, events, frames
from konnectivity.http2.abuse_limits import Limits

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200")]
SETTINGS_ACK = frames.frame(frames.SETTINGS, frames.ACK, 0)
PING = frames.frame(frames.PING, 0, 0, b"12345678")


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.frame(frames.DATA, flags, stream_id, payload)


# ---- preface ------------------------------------------------------------------------------------------------------


def test_a_client_greets_at_once(hand_peer):
    peer = hand_peer(client=True, settings=Settings(enable_push=0, initial_window_size=70_000), greeted=False)
    assert peer.bytes_heard() == (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        b"\x00\x00\x0c\x04\x00\x00\x00\x00\x00"
        b"\x00\x02\x00\x00\x00\x00\x00\x04\x00\x01\x11\x70"
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00"
    )


def test_a_connection_window_of_the_initial_size_is_not_widened(hand_peer):
    peer = hand_peer(client=True, connection_window=65_535, greeted=False)
    assert [frame.kind for frame in peer.hears()] == [frames.SETTINGS]


def test_a_server_greets_once_the_preface_is_here(hand_peer):
    peer = hand_peer(client=False, settings=Settings(max_concurrent_streams=5), greeted=False)
    for byte in frames.PREFACE[:-1]:
        assert peer.says(bytes((byte,))) == []
        assert not peer.connection.output
    assert peer.says(frames.PREFACE[-1:], frames.settings({})[:5]) == []
    assert [frame[:3] for frame in peer.hears()] == [(frames.SETTINGS, 0, 0), (frames.WINDOW_UPDATE, 0, 0)]
    assert peer.says(frames.settings({})[5:]) == [events.SettingsChanged()]
    assert peer.bytes_heard() == SETTINGS_ACK


@pytest.mark.parametrize(
    "first", [b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSN", b"INVALID PREFACE\r\n\r\n", b"\0"]
)
def test_what_is_not_http2_gets_no_answer(hand_peer, first):
    peer = hand_peer(client=False, greeted=False)
    assert peer.says(first) == [
        events.ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client: bad connection preface")
    ]
    assert peer.bytes_heard() == b""
    assert peer.says(frames.PREFACE) == []


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT node:10250 HTTP/1.0\r\n\r\n"])
def test_http1_gets_an_answer_that_people_can_read(hand_peer, first):
    peer = hand_peer(client=False, greeted=False)
    assert [type(event) for event in peer.says(first)] == [events.ConnectionFailed]
    answer = peer.bytes_heard()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nthis port speaks gRPC over HTTP/2, not HTTP/1\n")


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize(
    "first",
    [
        PING,
        data(1, b"x"),
        frames.frame(frames.DATA, frames.PADDED, 1, b"\x01xx"),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x88"),
        frames.frame(0x77, 0, 0),
        SETTINGS_ACK,
    ],
)
def test_the_first_frame_is_settings(hand_peer, client, first):
    peer = hand_peer(client, greeted=False)
    if not client:
        peer.says(frames.PREFACE)
    code, message = peer.breaks_connection(first)
    assert code == ErrorCode.PROTOCOL_ERROR
    assert message in ("the first frame is not SETTINGS", "SETTINGS ack before SETTINGS")


# ---- streams ------------------------------------------------------------------------------------------------------


def test_a_call_from_the_client(to_client):
    client = to_client.connection
    stream_id = client.open_stream(REQUEST)
    client.send_data(client.streams[stream_id], b"head", b"body")
    headers, message = to_client.hears()
    assert headers[:3] == (frames.HEADERS, frames.END_HEADERS, 1)
    assert to_client.decoder.decode(headers.payload) == REQUEST
    assert message == (frames.DATA, 0, 1, b"headbody")

    answer = to_client.says(to_client.headers(1, RESPONSE), data(1, b"answer"))
    assert answer == [
        events.HeadersReceived(1, RESPONSE, end_stream=False, trailers=False),
        events.DataReceived(1, memoryview(b"answer"), 6, end_stream=False),
    ]
    trailers = [("grpc-status", "0")]
    assert to_client.says(to_client.headers(1, trailers, frames.END_STREAM)) == [
        events.HeadersReceived(1, trailers, end_stream=True, trailers=True)
    ]
    assert list(client.streams) == [1]
    client.end_stream(1)
    assert to_client.hears() == [(frames.DATA, frames.END_STREAM, 1, b"")]
    assert not client.streams


def test_a_call_to_the_server(to_server):
    server = to_server.connection
    assert to_server.says(to_server.headers(1), data(1, b"question")) == [
        events.HeadersReceived(1, REQUEST, end_stream=False, trailers=False),
        events.DataReceived(1, memoryview(b"question"), 8, end_stream=False),
    ]
    server.send_headers(1, RESPONSE)
    server.send_data(server.streams[1], b"answer")
    server.send_headers(1, [("grpc-status", "0")], end_stream=True)
    heard = to_server.hears()
    assert [frame[:3] for frame in heard] == [
        (frames.HEADERS, frames.END_HEADERS, 1),
        (frames.DATA, 0, 1),
        (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1),
    ]
    assert to_server.decoder.decode(heard[2].payload) == [("grpc-status", "0")]

    server.send_headers(1, [("late", "1")], end_stream=True)
    server.send_data(server.streams[1], b"late")
    server.end_stream(1)
    assert to_server.hears() == []
    assert to_server.says(data(1, b"", frames.END_STREAM)) == [
        events.DataReceived(1, memoryview(b""), 0, end_stream=True)
    ]
    assert not server.streams


def test_verbs_on_a_stream_that_is_not_there_do_nothing(to_server):
    server = to_server.connection
    server.send_headers(9, RESPONSE)
    server.end_stream(9)
    server.reset_stream(9)
    server.acknowledge(9, 100_000)
    server.grow_window(9, 100_000)
    assert not server.output


def test_a_reset_drops_what_was_queued(to_server):
    server = to_server.connection
    to_server.opens(1)
    stream = server.streams[1]
    server.send_data(stream, bytes(70_000))
    server.reset_stream(1, ErrorCode.INTERNAL_ERROR)
    assert to_server.hears()[-1] == (frames.RST_STREAM, 0, 1, b"\0\0\0\2")
    assert (stream.queued, len(stream.queue)) == (0, 0)
    server.send_data(stream, b"late")
    server.reset_stream(1)
    assert to_server.says(frames.window_update(0, 100_000)) == []
    assert not server.output


def test_the_peer_says_how_many_streams_it_takes(hand_peer):
    peer = hand_peer(client=True, said={0x3: 2})
    client = peer.connection
    assert [client.open_stream(REQUEST), client.open_stream(REQUEST)] == [1, 3]
    with pytest.raises(ConnectionError, match="takes no more than 2 streams"):
        client.open_stream(REQUEST)
    client.reset_stream(1)
    assert client.open_stream(REQUEST) == 5


# ---- windows we give ----------------------------------------------------------------------------------------------


def test_window_is_returned_by_the_half(hand_peer):
    peer = hand_peer(client=False, settings=Settings(initial_window_size=1000))
    server = peer.connection
    peer.opens(1)
    peer.says(data(1, bytes(1000)))
    server.acknowledge(1, 0)
    assert not server.output
    peer.breaks_stream(1, data(1, b"x"))

    peer.opens(3)
    peer.says(data(3, bytes(600)))
    server.acknowledge(3, 300)
    assert not server.output  # 400 are left to the peer
    server.acknowledge(3, 100)
    assert peer.hears() == [(frames.WINDOW_UPDATE, 0, 3, (400).to_bytes(4))]
    assert len(peer.says(data(3, bytes(800)))) == 1
    assert peer.breaks_stream(3, data(3, b"x"))[0] == ErrorCode.FLOW_CONTROL_ERROR


def test_no_window_for_a_stream_whose_peer_has_ended(to_server):
    server = to_server.connection
    to_server.opens(1)
    to_server.says(data(1, bytes(16_000), frames.END_STREAM))
    server.acknowledge(1, 16_000)
    server.grow_window(1, 100_000)
    assert not server.output


def test_a_window_grows(hand_peer):
    peer = hand_peer(client=False, settings=Settings(initial_window_size=1000))
    peer.opens(1)
    peer.connection.grow_window(1, 500)
    assert peer.hears() == [(frames.WINDOW_UPDATE, 0, 1, (500).to_bytes(4))]
    assert len(peer.says(data(1, bytes(1500)))) == 1
    assert peer.breaks_stream(1, data(1, b"x"))[0] == ErrorCode.FLOW_CONTROL_ERROR


def test_a_window_does_not_grow_over_the_maximum(to_server):
    server = to_server.connection
    to_server.opens(1)
    to_server.says(data(1, bytes(10_000)))
    server.grow_window(1, frames.MAX_WINDOW)
    assert to_server.hears() == [(frames.WINDOW_UPDATE, 0, 1, (frames.MAX_WINDOW - 65_535).to_bytes(4))]
    server.grow_window(1, 1)
    assert not server.output
    server.acknowledge(1, 10_000)
    assert server.streams[1].receive_window + server.streams[1].unreturned == frames.MAX_WINDOW


# ---- PING, GOAWAY -------------------------------------------------------------------------------------------------


def test_ping(to_client):
    to_client.connection.ping(b"12345678")
    assert to_client.bytes_heard() == PING
    assert to_client.says(frames.frame(frames.PING, frames.ACK, 0, b"12345678")) == [
        events.PingAcknowledged(b"12345678")
    ]


def test_shutdown_lets_open_streams_go_on(to_server):
    server = to_server.connection
    to_server.opens(1, 3)
    server.shutdown(debug="bye")
    server.shutdown(debug="once is enough")
    assert to_server.hears() == [(frames.GOAWAY, 0, 0, b"\0\0\0\3\0\0\0\0bye")]
    assert to_server.says(to_server.headers(5)) == []
    assert to_server.hears() == [(frames.RST_STREAM, 0, 5, b"\0\0\0\7")]
    assert len(to_server.says(data(3, b"goes on"), data(5, b"does not"))) == 1
    assert not server.failed


def test_a_failure_after_shutdown_says_its_reason(to_server):
    to_server.opens(1)
    to_server.connection.shutdown()
    to_server.says(to_server.headers(3))
    to_server.connection.take()
    to_server.says(frames.frame(frames.PING, 0, 0, b"short"))
    (goaway,) = to_server.hears()
    assert goaway == (frames.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\6PING is not 8 bytes")


def test_the_text_of_a_goaway_is_short_and_always_encodable(to_server):
    to_server.connection.shutdown(debug="\udc80" + "x" * 10_000)
    (goaway,) = to_server.hears()
    assert goaway.payload[8:] == b"?" + b"x" * 255


def test_a_client_that_is_closing_opens_no_streams(to_client, hand_peer):
    to_client.connection.shutdown()
    asked = hand_peer(client=True)
    asked.says(frames.goaway(0, 0))
    broken = hand_peer(client=True)
    broken.says(data(0, b"x"))
    for peer in (to_client, asked, broken):
        with pytest.raises(ConnectionError, match="closing"):
            peer.connection.open_stream(REQUEST)


def test_state_that_is_asked_for(hand_peer):
    peer = hand_peer(client=True, limits=Limits(), said={0x5: 20_000})
    connection = peer.connection
    assert (connection.client, connection.failed, connection.goaway_sent, connection.goaway_received) == (
        True, False, False, False,
    )  # fmt: skip
    assert (connection.local.enable_push, connection.remote.max_frame_size) == (0, 20_000)
    peer.says(frames.goaway(0, 0))
    connection.shutdown()
    assert (connection.goaway_sent, connection.goaway_received) == (True, True)
    peer.says(data(0, b"x"))
    assert connection.failed
