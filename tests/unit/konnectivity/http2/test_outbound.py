"""Outbound frames: windows, queues, trailers, and the peer's SETTINGS. The peer is driven by hand (see conftest)."""

from __future__ import annotations

import hpack
import pytest

from konnectivity.http2 import ErrorCode, events, frames

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Proxy"), (":authority", "proxy")]
RESPONSE = [(":status", "200")]
TRAILERS = [("grpc-status", "0")]
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5


def sends(peer, stream_id: int, payload: bytes) -> None:
    peer.connection.send_data(peer.connection.streams[stream_id], payload)


def queued(peer, stream_id: int) -> int:
    return peer.connection.streams[stream_id].queued


# ---- DATA and the windows -----------------------------------------------------------------------------------------


def test_head_and_body_are_one_frame_and_not_copied(to_server):
    to_server.opens(1)
    body = memoryview(b"body")
    to_server.connection.send_data(to_server.connection.streams[1], b"head", body)
    to_server.connection.send_data(to_server.connection.streams[1], b"head only")
    header, head, sent, rest = to_server.connection.take()
    assert header == b"\0\0\x11\0\0\0\0\0\1"
    assert (head, sent is body, rest) == (b"head", True, b"head only")
    assert not to_server.connection.output


def test_what_a_stream_sends_in_a_row_is_one_frame(to_server):
    to_server.opens(1, 3)
    to_server.connection.take()
    for stream_id, text in ((1, b"a"), (1, b"b"), (3, b"c"), (3, b"d"), (1, b"e")):
        sends(to_server, stream_id, text)
    assert to_server.hears() == [
        (frames.DATA, 0, 1, b"ab"),
        (frames.DATA, 0, 3, b"cd"),
        (frames.DATA, 0, 1, b"e"),
    ]
    sends(to_server, 1, b"f")
    assert to_server.hears() == [(frames.DATA, 0, 1, b"f")]


def test_a_frame_ends_where_another_one_stands_behind_it(to_server):
    to_server.opens(1)
    to_server.connection.take()
    sends(to_server, 1, b"a")
    to_server.says(frames.frame(frames.PING, 0, 0, bytes(8)))
    sends(to_server, 1, b"b")
    sends(to_server, 1, b"c")
    to_server.connection.send_headers(1, TRAILERS, end_stream=True)
    sends(to_server, 1, b"too late")
    assert [(frame.kind, frame.payload) for frame in to_server.hears()[:-1]] == [
        (frames.DATA, b"a"),
        (frames.PING, bytes(8)),
        (frames.DATA, b"bc"),
    ]


def test_a_frame_grows_no_larger_than_the_peer_takes(to_server):
    to_server.opens(1)
    to_server.connection.take()
    for _ in range(3):
        sends(to_server, 1, bytes(8_000))
    assert [len(frame.payload) for frame in to_server.hears()] == [16_000, 8_000]


def test_data_waits_for_the_streams_window(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 10})
    peer.opens(1)
    sends(peer, 1, b"0123456")
    sends(peer, 1, b"789abc")
    sends(peer, 1, b"def")
    assert peer.hears() == [(frames.DATA, 0, 1, b"0123456"), (frames.DATA, 0, 1, b"789")]
    assert queued(peer, 1) == 6
    assert peer.says(frames.window_update(1, 4)) == []
    assert peer.hears() == [(frames.DATA, 0, 1, b"abcd")]
    assert peer.says(frames.window_update(1, 2)) == [events.StreamDrained(1)]
    assert peer.hears() == [(frames.DATA, 0, 1, b"ef")]
    assert peer.says(frames.window_update(1, 5)) == []
    sends(peer, 1, b"01234")
    assert (peer.hears_data(), queued(peer, 1)) == ({1: b"01234"}, 0)


def test_data_waits_for_the_connections_window(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 1_000_000})
    peer.opens(1, 3)
    sends(peer, 1, bytes(65_535))
    sends(peer, 1, b"abc")
    sends(peer, 3, b"defghi")
    assert peer.hears_data() == {1: bytes(65_535)}
    assert peer.says(frames.window_update(1, 100_000)) == []
    assert not peer.connection.output
    assert peer.says(frames.window_update(0, 5)) == [events.StreamDrained(1)]
    assert peer.hears_data() == {1: b"abc", 3: b"de"}
    assert peer.says(frames.window_update(0, 100)) == [events.StreamDrained(3)]
    assert peer.hears_data() == {3: b"fghi"}


def test_streams_take_turns_at_the_connections_window(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 1_000_000})
    peer.opens(1, 3, 5)
    sends(peer, 1, bytes(65_535))
    for stream_id in (1, 3, 5):
        sends(peer, stream_id, bytes(25))
    turns = []
    for _ in range(8):
        peer.connection.take()
        peer.says(frames.window_update(0, 10))
        turns.append(peer.hears_data())
    assert [list(turn) for turn in turns] == [[1], [3], [5], [1], [3], [5], [1, 3], [5]]
    assert [queued(peer, stream_id) for stream_id in (1, 3, 5)] == [0, 0, 0]


def test_a_stream_without_window_does_not_hold_up_others(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 40_000})
    peer.opens(1, 3)
    sends(peer, 1, bytes(50_000))
    sends(peer, 3, bytes(30_000))
    assert {key: len(value) for key, value in peer.hears_data().items()} == {1: 40_000, 3: 25_535}
    assert peer.says(frames.window_update(0, 100_000)) == [events.StreamDrained(3)]
    assert {key: len(value) for key, value in peer.hears_data().items()} == {3: 4_465}
    assert peer.says(frames.window_update(1, 100_000)) == [events.StreamDrained(1)]
    assert {key: len(value) for key, value in peer.hears_data().items()} == {1: 10_000}


def test_a_stream_that_ended_while_blocked_gets_no_turn(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 1_000_000})
    peer.opens(1, 3, 5)
    sends(peer, 1, bytes(65_535))
    sends(peer, 1, b"a")
    sends(peer, 3, b"b")
    sends(peer, 5, b"c")
    peer.connection.reset_stream(1)
    peer.says(frames.rst_stream(3, 8))
    peer.connection.take()
    assert peer.says(frames.window_update(0, 100)) == [events.StreamDrained(5)]
    assert peer.hears_data() == {5: b"c"}


def test_data_is_cut_into_frames_the_peer_takes(to_server):
    to_server.opens(1)
    sends(to_server, 1, bytes(40_000))
    assert [len(frame.payload) for frame in to_server.hears()] == [16_384, 16_384, 7_232]
    to_server.says(frames.settings({MAX_FRAME_SIZE: 20_000}))
    to_server.connection.take()
    sends(to_server, 1, bytes(20_000))
    sends(to_server, 1, bytes(20_000))
    assert [len(frame.payload) for frame in to_server.hears()] == [20_000, 5_535]


def test_nothing_to_send_holds_up_nothing(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 2})
    peer.opens(1)
    sends(peer, 1, b"abc")
    sends(peer, 1, b"")
    peer.connection.send_data(peer.connection.streams[1], b"", b"d")
    peer.connection.send_headers(1, TRAILERS, end_stream=True)
    assert peer.says(frames.window_update(1, 100)) == [events.StreamDrained(1)]
    heard = peer.hears()
    assert b"".join(frame.payload for frame in heard[:-1]) == b"abcd"
    assert heard[-1].kind == frames.HEADERS


# ---- SETTINGS_INITIAL_WINDOW_SIZE -----------------------------------------------------------------------------------


def test_a_larger_initial_window_widens_open_streams(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 3})
    peer.opens(1, 3)
    sends(peer, 1, b"abcdef")
    sends(peer, 3, b"ghijkl")
    peer.connection.take()
    assert peer.says(frames.settings({INITIAL_WINDOW_SIZE: 5})) == [events.SettingsChanged()]
    ack = (frames.SETTINGS, frames.ACK, 0, b"")  # goes first: what follows is within the new windows
    assert peer.hears() == [ack, (frames.DATA, 0, 1, b"de"), (frames.DATA, 0, 3, b"jk")]
    assert peer.says(frames.settings({INITIAL_WINDOW_SIZE: 6})) == [
        events.SettingsChanged(),
        events.StreamDrained(1),
        events.StreamDrained(3),
    ]


def test_a_smaller_initial_window_may_leave_less_than_none(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 10})
    peer.opens(1)
    sends(peer, 1, b"01234567")
    peer.says(frames.settings({INITIAL_WINDOW_SIZE: 3}))
    peer.connection.take()
    assert peer.connection.streams[1].send_window == -5
    sends(peer, 1, b"ab")
    assert peer.says(frames.window_update(1, 5)) == []
    assert not peer.connection.output
    assert peer.says(frames.window_update(1, 1)) == []
    assert peer.hears_data() == {1: b"a"}
    peer.says(frames.settings({INITIAL_WINDOW_SIZE: 4}))
    assert peer.hears()[1] == (frames.DATA, 0, 1, b"b")
    peer.opens(3)
    assert peer.connection.streams[3].send_window == 4


def test_the_last_of_several_sizes_counts(hand_peer):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 2})
    peer.opens(1)
    sends(peer, 1, b"abcdef")
    peer.connection.take()
    both = frames.settings({INITIAL_WINDOW_SIZE: 100})[9:] + frames.settings({INITIAL_WINDOW_SIZE: 4})[9:]
    assert peer.says(frames.frame(frames.SETTINGS, 0, 0, both)) == [events.SettingsChanged()]
    assert peer.hears()[1] == (frames.DATA, 0, 1, b"cd")


def test_an_initial_window_that_moves_a_stream_over_the_maximum(to_server):
    to_server.opens(1)
    to_server.says(frames.window_update(1, 10))
    code, message = to_server.breaks_connection(frames.settings({INITIAL_WINDOW_SIZE: frames.MAX_WINDOW}))
    assert (code, message) == (ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS moves a window over the maximum")


# ---- the end of a stream ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened_by", ["stream", "connection", "settings"])
def test_trailers_go_out_behind_queued_data(hand_peer, opened_by):
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 65_535 if opened_by == "connection" else 5})
    peer.opens(1, 3)
    if opened_by == "connection":
        sends(peer, 3, bytes(65_530))
    peer.connection.send_headers(1, RESPONSE)
    sends(peer, 1, b"0123456789")
    peer.connection.send_headers(1, TRAILERS, end_stream=True)
    sends(peer, 1, b"late")
    heard = peer.hears()
    assert heard[-1] == (frames.DATA, 0, 1, b"01234")
    opening = {
        "stream": frames.window_update(1, 5),
        "connection": frames.window_update(0, 5),
        "settings": frames.settings({INITIAL_WINDOW_SIZE: 10}),
    }
    assert peer.says(opening[opened_by])[-1] == events.StreamDrained(1)
    rest, trailers = peer.hears()[-2:]
    assert rest == (frames.DATA, 0, 1, b"56789")
    assert trailers[:3] == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1)
    assert 1 in peer.connection.streams
    peer.says(frames.frame(frames.DATA, frames.END_STREAM, 1))
    assert 1 not in peer.connection.streams


def test_a_stream_ends_behind_queued_data(hand_peer):
    peer = hand_peer(client=True, said={INITIAL_WINDOW_SIZE: 5})
    client = peer.connection
    client.open_stream(REQUEST)
    client.send_data(client.streams[1], b"0123456789")
    client.end_stream(1)
    peer.says(peer.headers(1, RESPONSE, frames.END_STREAM))
    assert list(client.streams) == [1]
    peer.connection.take()
    assert peer.says(frames.window_update(1, 5)) == [events.StreamDrained(1)]
    assert peer.hears() == [(frames.DATA, 0, 1, b"56789"), (frames.DATA, frames.END_STREAM, 1, b"")]
    assert not client.streams


def test_trailers_that_wait_leave_the_compression_in_step(hand_peer):
    """All header blocks share one compression state, in the order in which they are sent."""
    peer = hand_peer(client=False, said={INITIAL_WINDOW_SIZE: 5})
    peer.opens(1, 3, 5)
    for stream_id in (1, 5):
        sends(peer, stream_id, b"0123456789")
        peer.connection.send_headers(stream_id, [("grpc-message", f"of {stream_id}")], end_stream=True)
    peer.connection.send_headers(3, [(":status", "200"), ("new", "name"), ("grpc-message", "of 5")], end_stream=True)
    peer.connection.reset_stream(1)
    peer.says(frames.window_update(5, 5))
    blocks = [frame for frame in peer.hears() if frame.kind == frames.HEADERS]
    assert [(block.stream_id, peer.decoder.decode(block.payload)) for block in blocks] == [
        (3, [(":status", "200"), ("new", "name"), ("grpc-message", "of 5")]),
        (5, [("grpc-message", "of 5")]),
    ]


# ---- header blocks ------------------------------------------------------------------------------------------------


def test_a_large_header_block_goes_out_in_pieces(to_client):
    headers = [*REQUEST, ("a", "x" * 20_000), ("b", "y" * 30_000)]
    to_client.connection.open_stream(headers)
    heard = to_client.hears()
    assert [frame[:3] for frame in heard] == [
        (frames.HEADERS, 0, 1),
        (frames.CONTINUATION, 0, 1),
        (frames.CONTINUATION, 0, 1),
        (frames.CONTINUATION, frames.END_HEADERS, 1),
    ]
    assert {len(frame.payload) for frame in heard[:-1]} == {16_384}
    to_client.decoder.max_header_list_size = 100_000
    assert to_client.decoder.decode(b"".join(frame.payload for frame in heard)) == headers


@pytest.mark.parametrize("sizes", [[0], [0, 0], [100, 100], [0, 4096], [100, 0, 50], [4096], [65_536]])
def test_our_compressor_keeps_to_the_peers_table(hand_peer, sizes):
    peer = hand_peer(client=True)
    peer.connection.open_stream([*REQUEST, ("a", "b")])
    assert peer.decoder.decode(peer.hears()[0].payload) == [*REQUEST, ("a", "b")]
    for size in sizes:
        peer.says(frames.settings({0x1: size}))
    peer.decoder.max_allowed_table_size = min(sizes[-1], 4096)
    peer.connection.take()
    for _ in range(2):
        peer.connection.open_stream([*REQUEST, ("a", "b")])
        assert peer.decoder.decode(peer.hears()[0].payload) == [*REQUEST, ("a", "b")]


def test_several_table_sizes_in_one_frame(hand_peer):
    """The smallest table size is announced too, which empties the table (RFC 7541 section 4.2)."""
    peer = hand_peer(client=True)
    peer.connection.open_stream([*REQUEST, ("a", "b")])
    peer.connection.take()
    peer.says(frames.frame(frames.SETTINGS, 0, 0, frames.settings({0x1: 0})[9:] + frames.settings({0x1: 4096})[9:]))
    peer.connection.take()
    peer.connection.open_stream([*REQUEST, ("a", "b")])
    assert hpack.Decoder().decode(peer.hears()[0].payload) == [*REQUEST, ("a", "b")]
