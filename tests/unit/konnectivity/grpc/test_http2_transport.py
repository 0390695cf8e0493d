"""Two native transports in memory: calls, their ends, keepalive, congestion and turns, on a clock that stands still."""

from __future__ import annotations

from konnectivity.grpc.budgets.read_scheduler import ALL
from konnectivity.grpc.http2_transport import CLOSE_TIMEOUT_S
from konnectivity.grpc.http2_writer import HIGH_WATER
from konnectivity.grpc.status import OK, Code, Status
from konnectivity.http2 import Limits, frames

UNKNOWN_KIND = 0xBE  # of a frame, which a receiver ignores (RFC 9113 section 4.1)


def test_a_call_carries_messages_both_ways_and_ends_with_a_status(talk):
    async def conversation(pair):
        client, server = await pair.call()
        assert client.accepted.get("serverid") == "one"
        client.stream.send(b"hel", b"lo")
        server.stream.send(b"welcome")
        await pair.exchange()
        assert (server.messages, client.messages) == ([b"hello"], [b"welcome"])
        server.stream.finish(Status(Code.NOT_FOUND, "nothing here"))
        await pair.exchange()
        assert client.status == Status(Code.NOT_FOUND, "nothing here")

    talk(conversation)


def test_a_client_that_ends_its_side_ends_the_call(talk):
    async def conversation(pair):
        client, server = await pair.call()
        client.stream.finish()
        await pair.exchange()
        assert (client.status, server.status) == (OK, OK)

    talk(conversation)


def test_messages_of_one_pass_leave_in_one_write(talk):
    async def conversation(pair):
        client, server = await pair.call()
        writes = []
        write = pair.client_line.write
        pair.client_line.write = lambda data: (writes.append(len(data)), write(data))
        for _ in range(10):
            client.stream.send(b"x")
        await pair.exchange()
        assert server.messages == [b"x"] * 10
        assert len(writes) == 1

    talk(conversation)


def test_a_lost_connection_is_unavailable_to_the_client_and_a_cancellation_to_the_server(talk):
    async def conversation(pair):
        client, server = await pair.call()
        pair.client.connection_lost(None)
        pair.server.connection_lost(None)
        assert client.status.code is Code.UNAVAILABLE
        assert server.status.code is Code.CANCELLED
        assert pair.events == ["server connected", "client closed", "server closed"]
        pair.server.connection_lost(None)
        assert pair.events.count("server closed") == 1

    talk(conversation)


def test_a_closing_side_says_goodbye_and_hangs_up_in_any_case(talk):
    async def conversation(pair):
        client, server = await pair.call()
        pair.server.close("going")
        assert pair.server_line.closing
        assert server.status == Status(Code.UNAVAILABLE, "going"), "not later: its program may end now"
        await pair.exchange()
        assert pair.client.goaway == "the peer is going away: going"
        await pair.loop.advance(CLOSE_TIMEOUT_S + 0.1)
        assert pair.server_line.aborted
        assert client.status is None, "its connection is still there"

    talk(conversation)


def test_a_peer_that_answers_no_keepalive_ping_is_dropped(talk):
    async def conversation(pair):
        await pair.loop.advance(10.1)
        pair.server_line.take()
        await pair.loop.advance(2.1)
        assert pair.server_line.aborted
        assert pair.server.goaway == "no answer to a keepalive ping in 2 s"

    talk(conversation, keepalive_time_s=10.0, keepalive_timeout_s=2.0)


def test_a_ping_measures_the_round_trip_and_tells_whoever_asked(talk):
    async def conversation(pair):
        samples = []
        pair.client.ping(samples.append)
        pair.client.ping(samples.append)
        await pair.loop.advance(0.25)
        await pair.exchange()
        assert samples == [0.25, 0.25]
        assert pair.client.round_trip.last == 0.25

    talk(conversation)


def test_bytes_that_wait_for_window_of_the_peer_are_unsent(talk):
    async def conversation(pair):
        client, server = await pair.call()
        client.stream.send(bytes(1 << 20))
        pair.client.writer.flush()
        assert pair.client.unsent > pair.client_line.get_write_buffer_size()
        await pair.exchange()
        assert server.messages == [bytes(1 << 20)]
        assert pair.client.unsent == 0

    talk(conversation)


def test_a_sender_is_paused_once_while_the_socket_is_full_and_resumed_once(talk):
    async def conversation(pair):
        client, server = await pair.call()
        pair.client.pause_writing()
        client.stream.send(b"one")
        client.stream.send(b"two")
        assert not client.writable
        pair.client.resume_writing()
        assert client.writable
        await pair.exchange()
        assert server.messages == [b"one", b"two"]

    talk(conversation)


def test_a_sender_is_paused_while_the_peer_holds_its_stream(talk):
    async def conversation(pair):
        client, server = await pair.call()
        server.stream.hold()
        client.stream.send(bytes(1024 * 1024))
        await pair.exchange()
        assert not client.writable
        server.stream.release()
        await pair.exchange()
        assert client.writable
        assert server.messages == [bytes(1024 * 1024)]

    talk(conversation)


def test_much_output_in_one_pass_pauses_the_sender_until_it_is_written(talk):
    async def conversation(pair):
        client, _ = await pair.call()
        client.stream.send(bytes(HIGH_WATER))
        assert not client.writable
        await pair.exchange()
        assert client.writable

    talk(conversation)


def test_a_peer_that_does_not_read_its_output_is_cut(talk):
    async def conversation(pair):
        _, server = await pair.call()
        pair.server.pause_writing()
        server.stream.send(bytes(50_000))
        server.stream.send(bytes(60_000))
        for _ in range(3):
            await pair.loop.advance(0)
        assert pair.server_line.aborted
        assert pair.reached["unsent_bytes"] == 1

    talk(conversation, unsent_bytes=100_000)


def test_a_call_over_the_limit_of_incomplete_messages_ends_alone(talk):
    async def conversation(pair):
        client, server = await pair.call()
        other, _ = await pair.call()
        stream = pair.client.writer.http2.streams[1]
        pair.client.writer.send(stream, b"\0\0\1\0\0" + bytes(30_000))
        await pair.exchange()
        assert server.status.code is Code.RESOURCE_EXHAUSTED
        assert client.status.message == "too many bytes of incomplete messages"
        assert other.status is None

    talk(conversation, incomplete_bytes=20_000)


def test_a_read_that_takes_long_is_continued_in_the_next_turn(talk):
    async def conversation(pair):
        client, server = await pair.call()
        for number in range(100):
            client.stream.send(b"%d" % number)
        await pair.loop.advance(0)
        sent = pair.client_line.take()

        server.on_message = lambda: pair.work(ALL.long_s)
        pair.server.data_received(sent)
        assert len(server.messages) < 10, "the rest waits"
        assert pair.server_line.paused
        for _ in range(200):
            await pair.loop.advance(0)
        assert server.messages == [b"%d" % number for number in range(100)]
        assert not pair.server_line.paused

    talk(conversation)


def test_a_read_without_events_that_takes_long_to_parse_ends_the_turn(talk):
    async def conversation(pair):
        await pair.call()
        pair.tick_s = 2 * ALL.long_s
        pair.server.data_received(frames.frame(UNKNOWN_KIND, 0, 0))
        assert pair.server_line.paused
        pair.tick_s = 0.0
        await pair.loop.advance(0)
        assert not pair.server_line.paused

    talk(conversation)


def test_a_flood_slows_the_peer_of_a_shared_connection_down(talk):
    async def conversation(pair):
        client, _ = await pair.call()
        for _ in range(30):
            pair.client.writer.ping(bytes(8))
        await pair.exchange()
        assert pair.server_line.paused
        assert pair.reached["control_frames"] == 1
        await pair.loop.advance(300.0)
        assert not pair.server_line.paused
        assert client.status is None

    talk(conversation, limits=Limits(cheap_frames_burst=20, cheap_frames_per_s=1, slow_down=True, new_streams_per_s=0))
