"""The responder of health and admin ports, spoken to in raw bytes and with the standard library's client."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from konnectivity import http as responder
from konnectivity.http import HttpServer, Request, Response, text
from konnectivity.testing.deployment import free_port


class Site:
    """A responder with a few pages, and what they saw."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server = HttpServer()
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

    async def talk(self, data: bytes) -> bytes:
        """Everything the responder says until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


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
    answer = await site.talk(b"GET /ok HTTP/1.1\r\nx: " + b"a" * responder.MAX_HEAD + b"b" * 10)
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
