"""HTTP/1.1 exchanges of a client over streams in memory."""

from __future__ import annotations

import h11
import pytest

from konnectivity.kube.http_connection import MAX_HEAD
from support.memory_http import HEADERS, OK, connection


@pytest.fixture
def connected():
    """Yield a function that makes connections, and close them: an unclosed stream warns when it is collected."""
    wires = []

    def connect(*answers):
        made, wire = connection(*answers)
        wires.append(wire)
        return made, wire

    yield connect
    for wire in wires:
        wire.close()


async def body_of(answer):
    found = b""
    while data := await answer.receive():
        found += data
    return found


async def test_two_exchanges_on_one_connection(connected):
    made, wire = connected(OK, b"HTTP/1.1 100 Continue\r\n\r\n" + OK.replace(b"200 OK", b"404 Not Found"))
    head = await made.exchange("GET", "/a", HEADERS)
    assert (head.status, head.reason, head.headers["x-kind"], made.reusable) == (200, "OK", "a", False)
    assert (await body_of(made), made.reusable) == (b"hi", True)
    head = await made.exchange("POST", "/b", [*HEADERS, ("Content-Length", "1")], b"x")
    assert (head.status, await body_of(made)) == (404, b"hi")
    assert wire.written.startswith(b"GET /a HTTP/1.1\r\nHost: api\r\n\r\nPOST /b HTTP/1.1\r\n")
    assert wire.written.endswith(b"\r\n\r\nx")


async def test_a_body_in_chunks_is_given_as_it_arrives(connected):
    made, wire = connected(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await made.exchange("GET", "/", HEADERS)
    assert await made.receive() == b"abc"
    wire.reader.feed_data(b"1\r\nd\r\n0\r\n\r\n")
    assert (await made.receive(), await made.receive(), made.reusable) == (b"d", b"", True)


@pytest.mark.parametrize("answer", [OK.replace(b"X-Kind: a", b"Connection: close"), OK.replace(b"1.1", b"1.0", 1)])
async def test_a_connection_that_the_server_closes_is_not_used_again(connected, answer):
    made, _ = connected(answer)
    await made.exchange("GET", "/", HEADERS)
    await body_of(made)
    assert not made.reusable


async def test_a_connection_that_ended_while_idle_is_not_used_again(connected):
    made, wire = connected(OK)
    await made.exchange("GET", "/", HEADERS)
    await body_of(made)
    wire.reader.feed_eof()
    assert not made.reusable


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionResetError),
        (b"SSH-2.0\r\n\r\n", h11.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\n", ConnectionResetError),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * (MAX_HEAD + 1), h11.RemoteProtocolError),
    ],
)
async def test_an_answer_that_is_none_is_an_error(connected, answer, error):
    made, wire = connected(answer)
    wire.write(b"")
    wire.reader.feed_eof()
    with pytest.raises(error):
        await made.exchange("GET", "/", HEADERS)


async def test_a_body_that_is_cut_off_is_an_error(connected):
    made, wire = connected(OK[:-1])
    await made.exchange("GET", "/", HEADERS)
    wire.reader.feed_eof()
    with pytest.raises(h11.RemoteProtocolError):
        await body_of(made)
