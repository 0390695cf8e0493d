"""Answers that are computed once for all requests that wait for them."""

from __future__ import annotations

import asyncio
import time

from konnectivity.http1.handlers import Request, Response, shared, text
from konnectivity.runtime import task_guard
from konnectivity_server.api.shared_answers import MAX_PAUSE_S, SharedAnswers


async def test_requests_that_arrived_before_the_work_began_share_it():
    made, now = [], asyncio.get_running_loop().time

    async def make() -> Response:
        made.append(None)
        number = len(made)
        await asyncio.sleep(0.02)
        return text(str(number))

    async with asyncio.TaskGroup() as tasks:
        answers = SharedAnswers(tasks, pause_factor=0.0, clock=now)
        first = [answers.get("a", now(), make) for _ in range(50)]
        await asyncio.sleep(0.01)
        later = [answers.get("a", now(), make) for _ in range(50)]
        other = answers.get("b", now(), make)
        assert {(await each).body for each in first} == {b"1"}
        assert {(await each).body for each in later} == {b"2"}
        assert (await other).body == b"3"
    assert len(made) == 3
    assert not len(answers)


async def test_a_client_that_leaves_takes_the_answer_from_no_other():
    async def make() -> Response:
        await asyncio.sleep(0.02)
        return text("fine")

    async with asyncio.TaskGroup() as tasks:
        answers = SharedAnswers(tasks, pause_factor=0.0)
        leaves, stays = (answers.get("a", 0.0, make) for _ in range(2))
        leaves.cancel()
        assert (await stays).body == b"fine"


async def test_work_that_raises_answers_nothing_and_ends_nothing():
    async def make() -> Response:
        raise RuntimeError("broken on purpose")

    before = task_guard.counts["answer"]
    async with asyncio.TaskGroup() as tasks:
        assert await SharedAnswers(tasks, pause_factor=0.0).get("a", 0.0, make) is None
    assert task_guard.counts["answer"] == before + 1


async def test_requests_without_end_cost_a_share_of_the_time():
    """Two answers at one time, each followed by a pause four times as long, take two fifths of the time at most."""
    now, took = asyncio.get_running_loop().time, 0.0

    async def make() -> Response:
        nonlocal took
        await asyncio.sleep(0.01)
        took += 0.01
        return text("fine")

    async with asyncio.TaskGroup() as tasks:
        answers, began = SharedAnswers(tasks, clock=now), now()
        while now() - began < 10.0:
            await answers.get("a", now(), make)
        assert took / (now() - began) < 0.41


async def test_the_pause_after_a_long_answer_is_bounded():
    now = asyncio.get_running_loop().time

    async def make() -> Response:
        await asyncio.sleep(60.0)
        return text("fine")

    async with asyncio.TaskGroup() as tasks:
        answers, began = SharedAnswers(tasks, clock=now), now()
        for _ in range(3):
            await answers.get("a", now(), make)
        assert now() - began <= 3 * 60.0 + MAX_PAUSE_S


def test_an_answer_is_never_older_than_the_request():
    made = []

    def make(request: Request) -> Response:
        made.append(request)
        return text(str(len(made)))

    handle = shared(make, key=lambda request: request.query)
    arrived = time.monotonic()
    assert [handle(Request("GET", "/", "", {}, arrived)).body for _ in range(3)] == [b"1", b"1", b"1"]
    assert handle(Request("GET", "/", "", {}, time.monotonic())).body == b"2"
    assert handle(Request("GET", "/", "x", {}, arrived)).body == b"3"
    assert handle(Request("GET", "/", "")).body == b"4", "a request that says no time"
