"""Pool of connections to the API, in memory."""

from __future__ import annotations

import asyncio

import pytest

from konnectivity.kube.http_pool import IDLE_S, MAX_IDLE, HttpPool
from support.memory_http import HEADERS, OK, connection
from support.memory_streams import StillLoop


@pytest.fixture
def pools():
    """Yield a function that makes pools, and close their connections: an unclosed stream warns when it is collected."""
    made = []

    def pool(*answers, most=100):
        made.append(Pooled(*answers, most=most))
        return made[-1]

    yield pool
    for each in made:
        for wire in each.wires:
            wire.close()


class Pooled:
    """Pool of connections, and the transports of the connections that it opened."""

    def __init__(self, *answers, most=100):
        self.wires = []
        self.answers = answers
        self.ends = False  # new connections end when a request arrives
        self.pool = HttpPool(self._connect, most)

    async def ask(self, limit=100):
        answer = await self.pool.send("GET", "/", HEADERS)
        return await answer.read(limit)

    async def _connect(self):
        made, wire = connection(*self.answers)
        wire.ends = self.ends
        self.wires.append(wire)
        return made


async def test_a_connection_in_the_pool_is_used_again(pools):
    made = pools(OK, OK, OK)
    assert [await made.ask() for _ in range(3)] == [b"hi"] * 3
    assert len(made.wires) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_that_meets_the_end_of_an_idle_connection_is_sent_again_if_it_is_idempotent(pools, method):
    made = pools(OK)
    await made.ask()
    made.wires[0].ends = True
    sent = made.pool.send(method, "/", HEADERS)
    if method == "POST":
        with pytest.raises(ConnectionResetError, match="closed before an answer"):
            await sent
    else:
        assert await (await sent).read(100) == b"hi"
    assert len(made.wires) == (1 if method == "POST" else 2)
    assert made.wires[0].aborted


async def test_a_request_is_not_sent_again_when_a_new_connection_breaks(pools):
    made = pools()
    made.ends = True
    with pytest.raises(ConnectionResetError):
        await made.ask()
    assert len(made.wires) == 1


def test_a_connection_that_was_idle_for_long_is_replaced(pools):
    async def main():
        loop = asyncio.get_running_loop()
        made = pools(OK, OK)
        await made.ask()
        await loop.advance(IDLE_S - 1)
        await made.ask()
        assert len(made.wires) == 1
        await loop.advance(IDLE_S)
        await made.ask()
        assert [wire.closed for wire in made.wires] == [True, False]

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(main())


async def test_an_answer_that_is_too_large_costs_its_connection(pools):
    made = pools(OK, OK)
    with pytest.raises(ValueError, match="larger than 1 bytes"):
        await made.ask(limit=1)
    await made.ask()
    assert [wire.aborted for wire in made.wires] == [True, False]


async def test_an_answer_that_is_given_up_costs_its_connection(pools):
    made = pools(OK)
    answer = await made.pool.send("GET", "/", HEADERS)
    answer.close()
    answer.close()
    assert made.wires[0].aborted
    assert await answer.receive() == b""


async def test_a_request_that_is_cancelled_frees_its_place(pools):
    made = pools(most=1)
    waiting = asyncio.create_task(made.ask())
    while not made.wires:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert made.wires[0].aborted
    made.answers = (OK,)
    assert await made.ask() == b"hi"


async def test_no_more_connections_than_allowed_are_open(pools):
    made = pools(OK, OK, OK, most=2)
    answers = [await made.pool.send("GET", "/", HEADERS) for _ in range(2)]
    third = asyncio.create_task(made.ask())
    for _ in range(5):
        await asyncio.sleep(0)
    assert (len(made.wires), third.done()) == (2, False)
    await answers[0].read(100)
    assert await third == b"hi"
    assert len(made.wires) == 2


async def test_few_idle_connections_are_kept(pools):
    made = pools(OK)
    answers = [await made.pool.send("GET", "/", HEADERS) for _ in range(MAX_IDLE + 2)]
    for answer in answers:
        await answer.read(100)
    assert sum(wire.closed for wire in made.wires) == 2


async def test_a_pool_that_is_retired_keeps_no_connection(pools):
    made = pools(OK, OK)
    await made.ask()
    answer = await made.pool.send("GET", "/", HEADERS)
    made.pool.retire()
    assert not made.wires[0].closed  # the connection is in use
    await answer.read(100)
    assert made.wires[0].closed
