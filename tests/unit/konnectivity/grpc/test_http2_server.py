"""Admission of requests, and the time limits of a server's connection; in memory, on a clock that stands still."""

from __future__ import annotations

import pytest

from konnectivity.grpc.http2_transport import CLOSE_TIMEOUT_S
from konnectivity.grpc.message_stream import StreamReceiver
from konnectivity.grpc.status import Code, RpcError

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/Conversation/Talk"), (":authority", "host")]


class Refused(StreamReceiver):
    """Receiver that keeps the status."""

    status = None

    def message_received(self, message):
        raise AssertionError("a refused call has no message")

    def stream_closed(self, status):
        self.status = status


async def refusal(pair, path, metadata=None):
    """Return the status of a call that the server refuses."""
    receiver = Refused()
    stream = pair.client.open_stream(path, metadata or {}, receiver)
    await pair.exchange()
    with pytest.raises(RpcError):
        await stream.accepted()
    return receiver.status


def test_an_unknown_method_is_unimplemented(talk):
    async def conversation(pair):
        status = await refusal(pair, "/No/Such")
        assert (status.code, status.message) == (Code.UNIMPLEMENTED, "unknown method /No/Such")

    talk(conversation)


def test_a_malformed_timeout_is_refused(talk):
    async def conversation(pair):
        status = await refusal(pair, "/Conversation/Talk", {"grpc-timeout": "soon"})
        assert (status.code, status.message) == (Code.INTERNAL, "malformed grpc-timeout 'soon'")
        assert pair.served == []

    talk(conversation)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ([*REQUEST, ("content-type", "text/html")], "HTTP status 415"),
        ([(":method", "PUT"), *REQUEST[1:], ("content-type", "application/grpc")], "HTTP status 405"),
    ],
)
def test_a_request_that_is_not_grpc_is_answered_in_plain_http(talk, fields, answer):
    async def conversation(pair):
        http2 = pair.client.writer.http2
        stream_id = http2.open_stream(fields)
        pair.client.writer.flush()
        events = []
        pair.server.data_received(pair.client_line.take())
        for _ in range(3):
            await pair.loop.advance(0)
        events = http2.receive(pair.server_line.take())
        headers = next(dict(event.headers) for event in events if hasattr(event, "headers"))
        assert headers[":status"] == answer.removeprefix("HTTP status ")
        assert stream_id == 1
        assert pair.served == []

    talk(conversation)


def test_header_fields_over_the_limit_are_refused_until_a_call_gives_its_own_back(talk):
    async def conversation(pair):
        kept, _ = await pair.call()
        status = await refusal(pair, "/Conversation/Talk")
        assert status.code is Code.RESOURCE_EXHAUSTED
        assert pair.reached["header_bytes"] == 1
        kept.stream.abort()
        await pair.exchange()
        again, _ = await pair.call()
        assert again.status is None

    talk(conversation, header_bytes=700)


def test_a_call_whose_time_is_over_ends_on_both_sides(talk):
    async def conversation(pair):
        client, server = await pair.call(timeout_s=3.0)
        await pair.loop.advance(2.9)
        assert client.status is None
        await pair.loop.advance(0.2)
        await pair.exchange()
        assert client.status.code is Code.DEADLINE_EXCEEDED
        assert server.status.code in (Code.DEADLINE_EXCEEDED, Code.CANCELLED)

    talk(conversation)


def test_a_client_that_sends_no_preface_is_dropped(talk):
    async def conversation(pair):
        other = type(pair)(pair.loop, pair.server.options)
        other.server.connection_made(other.server_line)
        await pair.loop.advance(9.9)
        assert not other.server_line.aborted
        await pair.loop.advance(0.2)
        assert other.server_line.aborted
        assert not pair.server_line.aborted
        assert pair.reached == {"handshake": 1}

    talk(conversation, handshake_timeout_s=10.0)


def test_a_connection_without_a_call_for_too_long_is_closed(talk):
    async def conversation(pair):
        client, _ = await pair.call()
        await pair.loop.advance(60.1)
        assert pair.client.goaway is None, "it has a call"
        client.stream.abort()
        await pair.exchange()
        await pair.loop.advance(60.1)
        await pair.exchange()
        assert pair.client.goaway == "the peer is going away: no call for too long"
        await pair.loop.advance(CLOSE_TIMEOUT_S + 0.1)
        assert pair.server_line.closing
        assert pair.reached["idle_connection"] == 1

    talk(conversation, idle_timeout_s=60.0)
