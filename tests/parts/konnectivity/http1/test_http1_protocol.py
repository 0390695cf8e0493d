"""Responder of health and admin ports, with requests in raw bytes and from the standard library's client."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from konnectivity.http1.handlers import Request, Response, text
from konnectivity.http1.http1_protocol import MAX_HEAD, READ_SIZE, HttpProtocol, HttpTimeouts
from konnectivity.http1.http_server import HttpServer
from konnectivity.runtime import task_guard
from konnectivity.testing.deployment import free_port


class Site:
    """Responder with a few pages, and the requests that they received."""

    def __init__(self, connections: int = 200, timeouts: HttpTimeouts | None = None) -> None:
        self.port = free_port()
        self.server = HttpServer(connections, timeouts=timeouts)
        self.requests: list[Request] = []
        self.later: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        pages = {"/ok": self.page, "/known": self.known, "/broken": self.broken, "/later": lambda request: self.later}
        await self.server.listen("tests", "127.0.0.1", self.port, pages)

    def page(self, request: Request) -> Response:
        self.requests.append(request)
        return text("fine\n")

    def known(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(304, {"ETag": '"1"'}, b"")

    def broken(self, request: Request) -> Response:
        raise RuntimeError("broken on purpose")

    def connections(self) -> list[HttpProtocol]:
        """Return the responder's connections."""
        return [each for connections in self.server._connections for each in connections]

    async def talk(self, data: bytes) -> bytes:
        """Send bytes and return everything that the responder sends until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


async def started(timeouts: HttpTimeouts) -> Site:
    made = Site(timeouts=timeouts)
    await made.start()
    return made


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.start()
    yield made
    made.server.close()
    await asyncio.sleep(0.01)


async def test_the_standard_clients_keep_one_connection(site):
    def fetch() -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
        answers = []
        for path in ("/ok", "/ok?verbose&x=1", "/nothing"):
            connection.request("GET", path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
        connection.close()
        return answers

    answers = await asyncio.to_thread(fetch)
    assert answers == [(200, b"fine\n"), (200, b"fine\n"), (404, b"404 page not found\n")]
    assert site.requests[1].asks("verbose")
    assert site.requests[1].value("x") == "1"
    assert not site.requests[0].asks("verbose")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS"])
async def test_any_method_is_served(site, method):
    answer = await site.talk(method + b" /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nfine\n")


@pytest.mark.parametrize("target", [b"/ok", b"/later", b"x:1", b"/nothing"])
async def test_connect_is_refused(site, target):
    """An answer of 200 would turn the connection into a tunnel, to which no answer can be written."""
    before = dict(task_guard.counts)
    site.later.set_result(text("at last\n"))
    answer = await site.talk(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert dict(task_guard.counts) == before


async def test_head_has_no_body(site):
    answer = await site.talk(b"HEAD /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 5" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_what_the_client_has_is_not_sent_again(site):
    answer = await site.talk(b'GET /known HTTP/1.1\r\nHost: x\r\nIf-None-Match: "1"\r\nConnection: close\r\n\r\n')
    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"\r\n\r\n")
    assert site.requests[0].known == '"1"'


async def test_http_1_0_closes(site):
    assert (await site.talk(b"GET /ok HTTP/1.0\r\n\r\n")).endswith(b"fine\n")


async def test_two_requests_in_one_packet_get_two_answers_in_order(site):
    one = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await site.talk(one + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.index(b"200 OK") < answer.index(b"404 Not Found")


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET /ok HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n"],
    ids=["a TLS hello", "no request line", "no header"],
)
async def test_garbage_is_refused_and_the_connection_closed(site, garbage):
    answer = await site.talk(garbage + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_head_without_end_is_refused(site):
    answer = await site.talk(b"GET /ok HTTP/1.1\r\nx: " + b"a" * MAX_HEAD + b"b" * 10)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_page_that_fails_says_so_and_the_next_one_is_served(site, caplog):
    answer = await site.talk(
        b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\nGET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"fine\n")
    assert "Unexpected error" in caplog.text


async def test_an_answer_may_take_its_time(site):
    asyncio.get_running_loop().call_later(0.05, lambda: site.later.set_result(text("at last\n")))
    answer = await site.talk(
        b"GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.index(b"at last") < answer.index(b"fine")


async def test_a_client_that_leaves_cancels_its_answer(site):
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    writer.transport.abort()
    async with asyncio.timeout(5):
        while not site.later.cancelled():
            await asyncio.sleep(0.01)


async def test_a_taken_port_is_logged_and_not_the_end(site, caplog):
    other = HttpServer()
    await other.listen("health", "127.0.0.1", site.port, {})
    assert "cannot listen on" in str([record.__dict__.get("fields") for record in caplog.records])
    other.close()


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_pipelined_requests_take_turns_with_everything_else(site):
    """One request is answered in each pass of the event loop, however many arrive at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    count = 200
    writer.write(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n" * count)
    most, before = 0, 0
    async with asyncio.timeout(10):
        while len(site.requests) < count:
            await asyncio.sleep(0)
            most, before = max(most, len(site.requests) - before), len(site.requests)
        answers = b""
        while answers.count(b"fine") < count:
            answers += await reader.read(65536)
    assert most == 1
    writer.close()


async def test_requests_without_end_take_a_share_of_the_time(site):
    """The loop stays free most of the time while 20 connections ask for a page that takes 2 ms, for a second."""

    def slow(request):
        site.requests.append(request)
        time.sleep(0.002)
        return text("fine\n")

    port = free_port()
    await site.server.listen("tests", "127.0.0.1", port, {"/slow": slow})
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(20)]
    for writer in writers:
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
    began = time.monotonic()
    await asyncio.sleep(1.0)
    share = len(site.requests) * 0.002 / (time.monotonic() - began)
    assert 0 < share < 0.3
    for writer in writers:
        writer.transport.abort()


async def test_what_is_not_answered_yet_is_not_read(site):
    """A client that pipelines behind a slow answer fills its own memory, not ours."""
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
    await asyncio.sleep(0.5)
    (connection,) = site.connections()
    assert len(connection._heads) <= 2 * READ_SIZE
    assert writer.transport.get_write_buffer_size() > 10_000_000
    writer.transport.abort()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /ok HTTP/1.1\r\nx: " + b"a" * 15_000 + b"\r\n\r\n", b"200"),
        (b"GET /ok HTTP/1.1\r\nx: " + b"a" * 17_000 + b"\r\n\r\n", b"431"),
        (b"GET /ok HTTP/1.1\r\nx: " + b"a" * 1_000_000, b"431"),
        (b"GET /ok HTTP/1.1\r\n" + b"a:\r\n" * 90 + b"\r\n", b"200"),
        (b"GET /ok HTTP/1.1\r\n" + b"a:\r\n" * 110 + b"\r\n", b"431"),
    ],
    ids=["15 KB", "17 KB", "1 MB without an end", "90 fields", "110 fields"],
)
async def test_the_size_of_a_head_is_bounded(site, head, status):
    head = head.replace(b"\r\n", b"\r\nHost: x\r\nConnection: close\r\n", 1)
    assert (await site.talk(head)).startswith(b"HTTP/1.1 " + status)


async def test_a_body_is_not_read(site):
    answer = await site.talk(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"a" * 100_000)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("sent", "timeouts"),
    [
        (b"", HttpTimeouts(request_s=0.2)),
        (b"GET /ok HT", HttpTimeouts(request_s=0.2)),
        (b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n", HttpTimeouts(idle_s=0.2)),
    ],
    ids=["nothing", "half a head", "a request"],
)
async def test_a_connection_without_a_request_has_a_deadline(sent, timeouts):
    site = await started(timeouts)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(sent)
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    site.server.close()


async def test_a_head_that_trickles_in_has_a_deadline():
    site = await started(HttpTimeouts(request_s=0.5))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /ok HTTP/1.1\r\nx: ")
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionError):
            while not reader.at_eof():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.05)
            raise ConnectionError
    writer.close()
    site.server.close()


async def test_a_client_that_takes_no_answer_has_a_deadline():
    site = await started(HttpTimeouts(response_s=0.3))
    port = free_port()
    body = text("x" * 10_000_000)
    await site.server.listen("tests", "127.0.0.1", port, {"/large": lambda request: body})
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        while site.connections():
            await asyncio.sleep(0.02)
    writer.close()
    site.server.close()


async def test_half_a_second_after_its_request_a_client_may_end_its_side(site):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write_eof()
    async with asyncio.timeout(5):
        assert (await reader.read()).endswith(b"fine\n")
    writer.close()


async def test_more_connections_than_there_may_be_take_the_place_of_idle_ones():
    site = Site(connections=5)
    await site.start()
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(5)]
    await asyncio.sleep(HttpTimeouts().fresh_s + 0.05)
    for _ in range(3):
        answer = await site.talk(b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"fine\n")
    assert len(site.connections()) <= 5
    ended = [reader for reader, _ in idle if reader.at_eof() or reader.exception()]
    assert len(ended) == 1, "the places of those that have left again are free"
    assert site.server.reached["health_connections"] == 1
    for _, writer in idle:
        writer.transport.abort()
    site.server.close()
